#include "services/hub/recovery.hpp"

namespace decklog::hub {

Recovery recover(const persistence::JournalReader& journal, Sequence at) {
  Recovery found;
  const Sequence last = journal.durable_sequence();
  const Sequence end = at && at < last ? at : last;
  if (!end) return found;
  Sequence from{1};
  if (const auto snapshot = journal.latest_snapshot(persistence::kStateSnapshot, end)) {
    if (found.core.restore(snapshot->bytes)) {
      found.snapshot = snapshot->through;
      from = snapshot->through.next();
    } else {
      found.core = {};
      found.whole = false;
    }
  }
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    found.core.fold(event);
    ++found.events;
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange&) {
    found.whole = false;
    return true;
  };
  if (!journal.read(from, end, visitor)) found.whole = false;
  return found;
}

}  // namespace decklog::hub
