// The hub's core as the log tells it: newest snapshot, then the events after it, folded as recorded. No
// decision is made again.
#pragma once

#include "persistence/journal.hpp"
#include "services/hub/core.hpp"

namespace decklog::hub {

struct Recovery {
  HubCore core;
  Sequence snapshot;         // folded from this snapshot; none = from the beginning
  std::uint64_t events = 0;  // folded after it
  bool whole = true;         // nothing was missing on the way
};

// `at` = fold up to and including this event; none = all. Never fails: what cannot be read is passed over.
Recovery recover(const persistence::JournalReader& journal, Sequence at = {});

}  // namespace decklog::hub
