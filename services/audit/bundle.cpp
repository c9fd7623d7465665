#include "services/audit/bundle.hpp"

#include <algorithm>
#include <boost/crc.hpp>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "events/codec.hpp"
#include "services/audit/log_source.hpp"

namespace decklog::audit {
namespace {

using persistence::MissingRange;

constexpr std::size_t kRecordHead = 9;

std::uint32_t checksum(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint64_t number_at(std::string_view bytes, std::size_t offset, int size) {
  std::uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[offset + static_cast<std::size_t>(i)]);
  return value;
}

// "17-20 compacted"; a text that is none of ours says nothing.
std::optional<MissingRange> parse_range(std::string_view text) {
  MissingRange range;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, range.first.value);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto last = std::from_chars(first.ptr + 1, end, range.last.value);
  if (last.ec != std::errc{} || last.ptr == end || *last.ptr != ' ') return std::nullopt;
  std::string_view rest(last.ptr + 1, static_cast<std::size_t>(end - last.ptr - 1));
  const auto word = rest.substr(0, rest.find(' '));
  for (const auto kind :
       {GapKind::kLost, GapKind::kDamaged, GapKind::kRedacted, GapKind::kCompacted, GapKind::kNotWritten}) {
    if (name_of(kind) == word) range.kind = kind;
  }
  if (word.size() < rest.size()) range.detail = rest.substr(word.size() + 1);
  return range;
}

}  // namespace

Result<std::unique_ptr<BundleReader>> BundleReader::open(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return error(Errc::kNotFound, "cannot be read", path);
  const auto size = static_cast<std::uint64_t>(file.tellg());
  if (size > kMaxBundleBytes) return error(Errc::kTooLarge, "larger than 1 GiB", path);
  auto reader = std::make_unique<BundleReader>();
  std::string& bytes = reader->bytes_;
  bytes.resize(size);
  file.seekg(0);
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!file) return error(Errc::kIo, "cannot be read", path);
  if (!bytes.starts_with(kBundleMagic) || bytes.size() < kBundleMagic.size() + 8)
    return error(Errc::kMalformed, "not an exported log (decklog export makes one)", path);
  reader->epoch_ = number_at(bytes, kBundleMagic.size(), 8);
  for (std::size_t at = kBundleMagic.size() + 8; at < bytes.size();) {
    const std::string where = path + ", byte " + std::to_string(at);
    if (bytes.size() - at < kRecordHead) return error(Errc::kCorrupt, "the bundle ends early", where);
    const std::uint64_t length = number_at(bytes, at + 1, 4);
    if (length > bytes.size() - at - kRecordHead)
      return error(Errc::kCorrupt, "the bundle ends early", where);
    const std::size_t begin = at + kRecordHead;
    if (checksum(std::string_view(bytes).substr(begin, length)) != number_at(bytes, at + 5, 4))
      return error(Errc::kCorrupt, "a record fails its checksum", where);
    if (const auto taken = reader->take_record(bytes[at], begin, length, where); !taken) return taken.error();
    at = begin + length;
  }
  // An export has at least one: nothing to replay must not look like a replay without a divergence.
  if (reader->events_.empty()) return error(Errc::kCorrupt, "the bundle ends before its first event", path);
  return reader;
}

Status BundleReader::take_record(char kind, std::size_t offset, std::size_t size, const std::string& where) {
  const std::string_view record = std::string_view(bytes_).substr(offset, size);
  if (whole_) return error(Errc::kCorrupt, "something follows the end mark", where);
  if (kind == 'S' && size >= 8) {
    snapshots_.push_back(
        {{number_at(record, 0, 8)}, std::string(persistence::kStateSnapshot), std::string(record.substr(8))});
  } else if (kind == 'M') {
    if (auto range = parse_range(record)) missing_.push_back(std::move(*range));
  } else if (kind == 'E') {
    const auto event = decode(record);
    if (!event) return error(event.error().code, event.error().message, where);
    if (!events_.empty() && event->sequence <= events_.back().sequence)
      return error(Errc::kCorrupt, "sequences go backwards", where);
    events_.push_back({event->sequence, offset, size});
  } else if (kind == 'Z' && size >= 16) {
    if (number_at(record, 0, 8) != durable_sequence().value || number_at(record, 8, 8) != events_.size())
      return error(Errc::kCorrupt, "the end mark names other events than there are", where);
    whole_ = true;
  }
  return {};
}

// What compaction had taken before the export cannot be decided again; what was left out as not needed can be
// done without.
Sequence BundleReader::complete_from() const {
  Sequence from = first_sequence();
  for (const auto& range : missing_) {
    if (range.detail == kLeftOut) {
      if (range.last.next() == from) from = range.first;
    } else if (range.kind == GapKind::kCompacted && from <= range.last) {
      from = range.last.next();
    }
  }
  return from;
}

std::vector<BundleReader::Stored>::const_iterator BundleReader::at_or_after(Sequence from) const {
  return std::lower_bound(events_.begin(), events_.end(), from,
                          [](const Stored& event, Sequence at) { return event.sequence < at; });
}

MissingRange BundleReader::hole(Sequence first, Sequence last) const {
  for (const auto& range : missing_) {
    if (range.first <= first && last <= range.last) return {range.kind, first, last, range.detail};
  }
  return {GapKind::kLost, first, last, "not in the bundle"};
}

// Events and the holes between them, as far as the bundle reaches. Both may end it with false.
Status BundleReader::walk(Sequence from, Sequence to,
                          const std::function<bool(const persistence::MissingRange&)>& missing,
                          const std::function<Result<bool>(const Stored&)>& event) const {
  if (events_.empty()) return {};
  Sequence expected = std::max(from, first_sequence());
  auto stored = at_or_after(expected);
  for (; stored != events_.end() && stored->sequence <= to; ++stored) {
    if (stored->sequence != expected && missing && !missing(hole(expected, {stored->sequence.value - 1})))
      return {};
    const auto goes_on = event(*stored);
    if (!goes_on) return goes_on.error();
    if (!*goes_on) return {};
    expected = stored->sequence.next();
  }
  // A hole that the range ends in.
  if (stored != events_.end() && expected <= to && missing) (void)missing(hole(expected, to));
  return {};
}

Status BundleReader::read_raw(Sequence from, Sequence to, const persistence::RawVisitor& visitor) const {
  return walk(from, to, visitor.missing, [&](const Stored& stored) -> Result<bool> {
    const auto decoded = decode(bytes_of(stored));
    const bool lifecycle = decoded && info(decoded->fact).lifecycle;
    return visitor.event({stored.sequence, lifecycle, bytes_of(stored)});
  });
}

Status BundleReader::read(Sequence from, Sequence to, const persistence::Visitor& visitor) const {
  return walk(from, to, visitor.missing, [&](const Stored& stored) -> Result<bool> {
    const auto event = decode(bytes_of(stored));
    if (!event) return event.error();
    return visitor.event(*event);
  });
}

Status BundleReader::read_stream(const StreamId& stream, Sequence from,
                                 const persistence::Visitor& visitor) const {
  persistence::Visitor only = visitor;
  only.event = [&](const Envelope& event) { return event.stream != stream || visitor.event(event); };
  return read(from, durable_sequence(), only);
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

BundleWriter::BundleWriter(std::string path, std::uint64_t epoch)
    : path_(std::move(path)), temporary_(path_ + ".new") {
  out_.open(temporary_, std::ios::binary | std::ios::trunc);
  std::error_code ignored;
  std::filesystem::permissions(
      temporary_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write, ignored);
  std::string head(kBundleMagic);
  put(head, epoch, 8);
  out_ << head;
}

BundleWriter::~BundleWriter() {
  if (!out_.is_open()) return;
  out_.close();
  std::remove(temporary_.c_str());
}

void BundleWriter::record(char kind, std::string_view bytes) {
  std::string head(1, kind);
  put(head, bytes.size(), 4);
  put(head, checksum(bytes), 4);
  out_ << head << bytes;
}

void BundleWriter::snapshot(Sequence through, const std::string& bytes) {
  std::string text;
  put(text, through.value, 8);
  record('S', text + bytes);
}

void BundleWriter::event(Sequence sequence, std::string_view encoded) {
  record('E', encoded);
  last_ = sequence;
  ++events_;
}

void BundleWriter::missing(const persistence::MissingRange& range) {
  record('M', std::to_string(range.first.value) + "-" + std::to_string(range.last.value) + " " +
                  name_of(range.kind) + (range.detail.empty() ? "" : " " + range.detail));
}

Status BundleWriter::finish(bool whole) {
  if (!out_.is_open()) return error(Errc::kIo, "cannot be written", path_);
  if (whole) {
    std::string mark;
    put(mark, last_.value, 8);
    put(mark, events_, 8);
    record('Z', mark);
  }
  out_.close();
  if (!out_ || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    std::remove(temporary_.c_str());
    return error(Errc::kIo, "cannot be written", path_);
  }
  return {};
}

Result<std::uint64_t> write_bundle(const persistence::JournalReader& journal, const std::string& path,
                                   Sequence from, Sequence to) {
  BundleWriter writer(path, journal.epoch());
  if (!from) from = journal.complete_from();
  if (!from) from = Sequence{1};
  // Without the state before it, a range that begins in the middle could be read but not replayed.
  if (from.value > 1) {
    if (const auto snapshot =
            journal.latest_snapshot(persistence::kStateSnapshot, Sequence{from.value - 1})) {
      writer.snapshot(snapshot->through, snapshot->bytes);
      from = snapshot->through.next();
    } else {
      from = std::max(Sequence{1}, journal.complete_from());
    }
  }
  std::uint64_t count = 0;
  bool between_steps = ends_whole(journal);
  persistence::RawVisitor visitor;
  visitor.event = [&](const persistence::RawEvent& event) {
    // A step is exported whole: its decisions come along.
    if (to && to < event.sequence) {
      const auto decoded = decode(event.bytes);
      if (!decoded || info(decoded->fact).kind != EventKind::kDecision) {
        between_steps = true;
        return false;
      }
    }
    writer.event(event.sequence, event.bytes);
    ++count;
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    if (to && to < range.first) return false;
    writer.missing(range);
    return true;
  };
  if (const auto read = journal.read_raw(from, journal.durable_sequence(), visitor); !read)
    return read.error();
  if (count == 0) return error(Errc::kNotFound, "no event in this range");
  if (const auto done = writer.finish(between_steps); !done) return done.error();
  return count;
}

bool ends_whole(const persistence::JournalReader& log) {
  const auto* bundle = dynamic_cast<const BundleReader*>(&log);
  return !bundle || bundle->whole();
}

}  // namespace decklog::audit
