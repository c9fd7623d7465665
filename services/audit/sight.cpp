#include "services/audit/sight.hpp"

namespace decklog::audit {
namespace {

using persistence::JournalReader;
using persistence::MissingRange;
using persistence::Snapshot;

// The oldest state that was stored at or after `from`.
std::optional<Snapshot> state_after(const JournalReader& journal, Sequence from) {
  std::optional<Snapshot> oldest;
  for (Sequence at = journal.durable_sequence(); at >= from;) {
    auto snapshot = journal.latest_snapshot(persistence::kStateSnapshot, at);
    if (!snapshot || snapshot->through < from) break;
    at = Sequence{snapshot->through.value - 1};
    oldest = std::move(*snapshot);
  }
  return oldest;
}

// The first start of the service after `from` that `wanted` takes.
Sequence start_after(const JournalReader& journal, Sequence from,
                     const std::function<bool(const Envelope&)>& event) {
  Sequence found;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& seen) {
    if (event(seen)) found = seen.sequence;
    return !found;
  };
  visitor.missing = [](const MissingRange&) { return true; };
  (void)journal.read_stream(StreamId::service(), from, visitor);
  return found;
}

bool only_consequences_between(const JournalReader& journal, Sequence first, Sequence last) {
  bool only = true;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) { return only = info(event.fact).kind != EventKind::kInput; };
  visitor.missing = [&](const MissingRange&) { return only = false; };
  if (const auto read = journal.read(first, last, visitor); !read) return false;
  return only;
}

bool covers(const GapRecorded& gap, const MissingRange& range) {
  return gap.gap != GapKind::kNotWritten && gap.first <= range.first.value && range.last.value <= gap.last;
}

}  // namespace

KnownAgain known_after(const JournalReader& journal, const MissingRange& range) {
  KnownAgain again{state_after(journal, range.last), {}};
  Sequence start, told;
  // A run says right at its beginning what it found missing. Told later, only the run after it began without.
  again.start = start_after(journal, range.last.next(), [&](const Envelope& event) {
    if (std::holds_alternative<ServiceStarted>(event.fact)) {
      start = event.sequence;
      return static_cast<bool>(told);
    }
    if (const auto* gap = std::get_if<GapRecorded>(&event.fact); gap && covers(*gap, range))
      told = event.sequence;
    return told == event.sequence && start && only_consequences_between(journal, start.next(), told);
  });
  // What ended the search is the note or the start behind it; the run is what began.
  if (again.start) again.start = start;
  return again;
}

KnownAgain known_after_refusal(const JournalReader& journal, Sequence at) {
  return {state_after(journal, at), start_after(journal, at.next(), [](const Envelope& event) {
            return std::holds_alternative<ServiceStarted>(event.fact);
          })};
}

std::string lost_text(const MissingRange& range) {
  return "events " + std::to_string(range.first.value) + ".." + std::to_string(range.last.value) + " " +
         name_of(range.kind) + (range.detail.empty() ? "" : ": " + range.detail);
}

}  // namespace decklog::audit
