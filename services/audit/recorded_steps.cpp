#include "services/audit/recorded_steps.hpp"

namespace decklog::audit {

Result<std::vector<RecordedStep>> read_steps(
    const persistence::JournalReader& journal, Sequence from, Sequence to,
    const std::function<bool(const persistence::MissingRange&)>& missing,
    const std::function<bool(const Envelope&)>& note) {
  std::vector<RecordedStep> steps;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    const EventKind kind = info(event.fact).kind;
    if (kind == EventKind::kInput) {
      if (to < event.sequence) return false;
      steps.push_back({event, {}});
    } else if (kind == EventKind::kDecision) {
      if (!steps.empty()) steps.back().decisions.push_back(event);
    } else if (to < event.sequence || (note && !note(event))) {
      return false;
    }
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) { return !missing || missing(range); };
  if (const auto read = journal.read(from, journal.durable_sequence(), visitor); !read) return read.error();
  return steps;
}

}  // namespace decklog::audit
