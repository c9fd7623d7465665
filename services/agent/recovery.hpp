// State from the log: newest snapshot, then the events after it, folded as recorded. No decision is made
// again.
#pragma once

#include <string>

#include "persistence/journal.hpp"
#include "services/agent/core.hpp"

namespace decklog::agent {

struct Recovery {
  AgentState state;
  Sequence snapshot;                  // folded from this snapshot; none = from the beginning
  std::uint64_t events = 0;           // folded after it
  std::vector<std::string> problems;  // ranges that are missing, a snapshot that did not read: for people
};

// `at` = fold up to and including this event; none = all. Never fails: what cannot be read is a problem, not
// an end.
Recovery recover(const persistence::JournalReader& journal, Sequence at = {});

std::string encode_snapshot(const AgentState& state);
Result<AgentState> decode_snapshot(std::string_view bytes);

}  // namespace decklog::agent
