#include "services/audit/bundle.hpp"

#include <boost/crc.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "events/codec.hpp"
#include "services/audit/log_source.hpp"

namespace decklog::audit {
namespace {

std::uint32_t checksum(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint64_t take(std::string_view& in, int bytes) {
  std::uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(in[static_cast<std::size_t>(i)]);
  in.remove_prefix(static_cast<std::size_t>(bytes));
  return value;
}

void put_record(std::ostream& out, char kind, const std::string& bytes) {
  std::string head(1, kind);
  put(head, bytes.size(), 4);
  put(head, checksum(bytes), 4);
  out << head << bytes;
}

}  // namespace

Result<std::unique_ptr<BundleReader>> BundleReader::open(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return error(Errc::kNotFound, "cannot be read", path);
  if (static_cast<std::uint64_t>(file.tellg()) > kMaxBundleBytes)
    return error(Errc::kTooLarge, "larger than 1 GiB", path);
  file.seekg(0);
  std::ostringstream text;
  text << file.rdbuf();
  const std::string bytes = text.str();
  std::string_view rest(bytes);
  if (!rest.starts_with(kBundleMagic) || rest.size() < 12)
    return error(Errc::kMalformed, "not an exported log", path);
  rest.remove_prefix(kBundleMagic.size());
  auto reader = std::make_unique<BundleReader>();
  reader->epoch_ = take(rest, 8);
  while (!rest.empty()) {
    const std::string where = path + ", byte " + std::to_string(bytes.size() - rest.size());
    if (rest.size() < 9) return error(Errc::kCorrupt, "the bundle ends early", where);
    const char kind = rest.front();
    rest.remove_prefix(1);
    const std::uint64_t size = take(rest, 4);
    const std::uint64_t expected = take(rest, 4);
    if (size > rest.size()) return error(Errc::kCorrupt, "the bundle ends early", where);
    std::string_view record = rest.substr(0, size);
    rest.remove_prefix(size);
    if (checksum(record) != expected) return error(Errc::kCorrupt, "a record fails its checksum", where);
    if (kind == 'S' && record.size() >= 8) {
      persistence::Snapshot snapshot{{take(record, 8)}, std::string(persistence::kStateSnapshot), ""};
      snapshot.bytes = std::string(record);
      reader->snapshots_.push_back(std::move(snapshot));
    } else if (kind == 'E') {
      auto event = decode(record);
      if (!event) return error(event.error().code, event.error().message, where);
      if (!reader->events_.empty() && event->sequence <= reader->events_.back().sequence)
        return error(Errc::kCorrupt, "sequences go backwards", where);
      reader->events_.push_back(std::move(*event));
    }
  }
  return reader;
}

Status BundleReader::read(Sequence from, Sequence to, const persistence::Visitor& visitor) const {
  Sequence expected{};
  for (const auto& event : events_) {
    if (event.sequence < from) continue;
    if (to < event.sequence) break;
    if (expected && event.sequence != expected && visitor.missing) {
      if (!visitor.missing({GapKind::kLost, expected, {event.sequence.value - 1}, "not in the bundle"}))
        return {};
    }
    if (!visitor.event(event)) return {};
    expected = event.sequence.next();
  }
  return {};
}

Status BundleReader::read_raw(Sequence from, Sequence to, const persistence::RawVisitor& visitor) const {
  for (const auto& event : events_) {
    if (event.sequence < from || to < event.sequence) continue;
    const std::string bytes = encode(event);
    if (!visitor.event({event.sequence, info(event.fact).lifecycle, bytes})) return {};
  }
  return {};
}

Status BundleReader::read_stream(const StreamId& stream, Sequence from,
                                 const persistence::Visitor& visitor) const {
  for (const auto& event : events_) {
    if (event.sequence < from || event.stream != stream) continue;
    if (!visitor.event(event)) return {};
  }
  return {};
}

Result<persistence::Snapshot> BundleReader::latest_snapshot(std::string_view name, Sequence at) const {
  const persistence::Snapshot* best = nullptr;
  for (const auto& snapshot : snapshots_) {
    if (snapshot.name == name && snapshot.through <= at && (!best || best->through < snapshot.through))
      best = &snapshot;
  }
  if (!best) return error(Errc::kNotFound, "no snapshot before it");
  return *best;
}

Result<std::uint64_t> write_bundle(const persistence::JournalReader& journal, const std::string& path,
                                   Sequence from, Sequence to) {
  const std::string temporary = path + ".new";
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  if (!out) return error(Errc::kIo, "cannot be written", path);
  std::string head(kBundleMagic);
  put(head, journal.epoch(), 8);
  out << head;
  if (!from) from = journal.complete_from();
  if (!from) from = Sequence{1};
  // Without the state before it, a range that begins in the middle could be read but not replayed.
  if (from.value > 1) {
    if (const auto snapshot =
            journal.latest_snapshot(persistence::kStateSnapshot, Sequence{from.value - 1})) {
      std::string bytes;
      put(bytes, snapshot->through.value, 8);
      put_record(out, 'S', bytes + snapshot->bytes);
      from = snapshot->through.next();
    }
  }
  std::uint64_t count = 0;
  persistence::RawVisitor visitor;
  visitor.event = [&](const persistence::RawEvent& event) {
    put_record(out, 'E', std::string(event.bytes));
    ++count;
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    put_record(out, 'M',
               std::to_string(range.first.value) + "-" + std::to_string(range.last.value) + " " +
                   name_of(range.kind));
    return true;
  };
  const auto status = journal.read_raw(from, to ? to : journal.durable_sequence(), visitor);
  out.close();
  if (!status || !out) {
    std::remove(temporary.c_str());
    return status ? error(Errc::kIo, "cannot be written", path) : status.error();
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return error(Errc::kIo, "cannot be put in place", path);
  return count;
}

}  // namespace decklog::audit
