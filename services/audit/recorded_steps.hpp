// A log as steps: an input and the decisions that the log has behind it. Pure; held in memory whole.
#pragma once

#include <functional>
#include <vector>

#include "persistence/journal.hpp"

namespace decklog::audit {

struct RecordedStep {
  Envelope input;
  std::vector<Envelope> decisions;
};

// The steps whose input is in from..to, each with all its decisions. `missing` may end the reading with
// false; so may `note` (facts that are neither input nor decision). kCorrupt and what else reading gives.
Result<std::vector<RecordedStep>> read_steps(
    const persistence::JournalReader& journal, Sequence from, Sequence to,
    const std::function<bool(const persistence::MissingRange&)>& missing = {},
    const std::function<bool(const Envelope&)>& note = {});

}  // namespace decklog::audit
