// The smallest part of a log that still shows its first divergence: inputs are taken away as long as this
// build decides the same at the input in question. An answer stays only with the decision that asked for it.
// Pure but for the file that is written; runs on the caller's thread.
#pragma once

#include <functional>
#include <string>

#include "persistence/journal.hpp"

namespace decklog::audit {

struct Minimised {
  Sequence input;  // where this build decides otherwise
  std::uint64_t inputs_before = 0, inputs = 0;
  std::uint64_t tries = 0;
};

// Writes a bundle: the inputs kept, with what this build decides for them, and at the last one what the log
// has. kNotFound when the log replays without a divergence.
Result<Minimised> minimise(const persistence::JournalReader& journal, const std::string& path,
                           const std::function<void(std::uint64_t inputs)>& progress = {});

}  // namespace decklog::audit
