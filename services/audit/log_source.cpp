#include "services/audit/log_source.hpp"

#include <charconv>
#include <deque>
#include <filesystem>

#include "persistence/rocks_journal.hpp"
#include "services/audit/bundle.hpp"

namespace decklog::audit {
namespace {

bool matches(const Filter& filter, const Envelope& event) {
  const FactInfo& about = info(event.fact);
  if (!filter.stream.empty() && event.stream.value != filter.stream) return false;
  if (!filter.type.empty() && !about.name.starts_with(filter.type)) return false;
  if (!filter.kind.empty() && name_of(about.kind) != filter.kind) return false;
  if (filter.since.ns != 0 && event.time.wall < filter.since) return false;
  return filter.until.ns == 0 || event.time.wall <= filter.until;
}

}  // namespace

Result<std::shared_ptr<persistence::JournalReader>> open_log(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    auto bundle = BundleReader::open(path);
    if (!bundle) return bundle.error();
    return std::shared_ptr<persistence::JournalReader>(std::move(*bundle));
  }
  auto reader = persistence::RocksJournalReader::open(path);
  if (!reader) return reader.error();
  return std::shared_ptr<persistence::JournalReader>(std::move(*reader));
}

namespace {

// Whose log it is, as the start in front of `from` says: it need not be part of what is asked for.
std::string device_at(const persistence::JournalReader& journal, Sequence from) {
  std::string device;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (from < event.sequence && !device.empty()) return false;
    if (const auto* started = std::get_if<ServiceStarted>(&event.fact)) device = started->device;
    return true;
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  (void)journal.read_stream(StreamId::service(), Sequence{1}, visitor);
  return device;
}

}  // namespace

Status select(const persistence::JournalReader& journal, const Filter& filter,
              const std::function<void(const Entry&)>& take) {
  std::deque<Entry> kept;
  const Sequence from = filter.from ? filter.from : Sequence{1};
  std::string device = device_at(journal, from);
  const auto give = [&](Entry entry) {
    if (filter.last == 0) return take(entry);
    kept.push_back(std::move(entry));
    if (kept.size() > filter.last) kept.pop_front();
  };
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (const auto* started = std::get_if<ServiceStarted>(&event.fact)) device = started->device;
    if (filter.to && filter.to < event.sequence) return false;
    if (matches(filter, event)) give({event, "", device});
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    give({std::nullopt,
          "events " + std::to_string(range.first.value) + " to " + std::to_string(range.last.value) +
              " are " + name_of(range.kind) + (range.detail.empty() ? "" : ": " + range.detail),
          device});
    return true;
  };
  const auto status = filter.stream.empty()
                          ? journal.read(from, filter.to ? filter.to : journal.durable_sequence(), visitor)
                          : journal.read_stream({filter.stream}, from, visitor);
  for (const auto& entry : kept) take(entry);
  return status;
}

Result<Sequence> sequence_at(const persistence::JournalReader& journal, const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed == std::errc{} && end == text.data() + text.size()) {
    if (number == 0 || number > journal.durable_sequence().value) {
      return error(Errc::kNotFound, "the log ends at " + std::to_string(journal.durable_sequence().value),
                   text);
    }
    return Sequence{number};
  }
  const auto time = parse_rfc3339(text);
  if (!time) return error(Errc::kInvalidArgument, "neither a sequence nor an RFC 3339 time", text);
  Sequence found;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (event.time.wall <= *time) found = event.sequence;
    return true;
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  if (const auto status = journal.read(Sequence{1}, journal.durable_sequence(), visitor); !status)
    return status.error();
  if (!found) return error(Errc::kNotFound, "the log begins later", text);
  return found;
}

}  // namespace decklog::audit
