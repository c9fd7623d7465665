// The history every crash writer writes: which events, in steps of which size, so that a checker knows it by
// heart.
#pragma once

#include <vector>

#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {

inline std::size_t step_size(std::uint64_t first) {
  return 1 + first * 7 % 5;
}

inline std::vector<Envelope> step_at(std::uint64_t first) {
  return events_from(first, step_size(first), 40);
}

// Whether a step ends with this sequence (0: before the first).
inline bool ends_a_step(std::uint64_t sequence) {
  std::uint64_t next = 1;
  while (next <= sequence) next += step_size(next);
  return next == sequence + 1;
}

}  // namespace decklog::persistence
