#include "services/agent/recovery.hpp"

#include "events/codec.hpp"

namespace decklog::agent {
namespace {

constexpr std::string_view kMagic = "DLS1";

void put_number(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint64_t take_number(std::string_view& in, int bytes) {
  std::uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(in[static_cast<std::size_t>(i)]);
  in.remove_prefix(static_cast<std::size_t>(bytes));
  return value;
}

}  // namespace

std::string encode_snapshot(const AgentState& state) {
  std::string out(kMagic);
  put_number(out, state.through.value, 8);
  for (const auto& event : as_events(state)) {
    const std::string bytes = encode(event);
    put_number(out, bytes.size(), 4);
    out += bytes;
  }
  return out;
}

Result<AgentState> decode_snapshot(std::string_view bytes) {
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + 8)
    return error(Errc::kUnsupported, "not a snapshot this build reads");
  bytes.remove_prefix(kMagic.size());
  const Sequence through{take_number(bytes, 8)};
  AgentState state;
  while (!bytes.empty()) {
    const std::uint64_t size = bytes.size() < 4 ? ~0ull : take_number(bytes, 4);
    if (size > bytes.size()) return error(Errc::kCorrupt, "snapshot ends early");
    auto event = decode(bytes.substr(0, size));
    if (!event) return event.error();
    apply(state, *event);
    bytes.remove_prefix(size);
  }
  state.through = through;
  return state;
}

Recovery recover(const persistence::JournalReader& journal, Sequence at) {
  Recovery result;
  const Sequence last = journal.durable_sequence();
  const Sequence end = at && at < last ? at : last;
  if (!end) return result;
  Sequence from{1};
  if (const auto snapshot = journal.latest_snapshot(persistence::kStateSnapshot, end)) {
    if (auto state = decode_snapshot(snapshot->bytes)) {
      result.state = std::move(*state);
      result.snapshot = snapshot->through;
      from = snapshot->through.next();
    } else {
      result.problems.push_back("snapshot at " + std::to_string(snapshot->through.value) + ": " +
                                describe(state.error()));
    }
  }
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    apply(result.state, event);
    ++result.events;
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    result.problems.push_back("events " + std::to_string(range.first.value) + " to " +
                              std::to_string(range.last.value) + " are " + name_of(range.kind) +
                              (range.detail.empty() ? "" : ": " + range.detail));
    return true;
  };
  if (const auto status = journal.read(from, end, visitor); !status)
    result.problems.push_back(describe(status.error()));
  return result;
}

}  // namespace decklog::agent
