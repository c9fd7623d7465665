// The contract all machines share. A machine is a pure function over small values:
//     step(life, input, context) -> Step{verdict, next life, trigger, effects}
// It reads no clock and draws no random number: both are in the context and recorded with the input.
// One Boost.MSM machine is built on the stack for each step, loaded with the state, given one event, and read
// back; nothing outlives the step. Every (state, input) pair is a row, a listed ignore, or a counted
// rejection. Thread: any; no shared state. No allocation. Cannot fail.
#pragma once

#include <cstdint>
#include <string_view>

#include "events/instant.hpp"

namespace decklog::statemachines {

enum class Verdict : std::uint8_t {
  kTaken = 1,     // a row fired: `next` is the new state, `effects` what to ask for
  kIgnored = 2,   // listed as harmless in this state; nothing to log
  kRejected = 3,  // not possible in this state: counted and logged, nothing changes
};

// What a step may read beside state and input.
struct Context {
  MonoTime now;
  std::uint64_t random = 0;  // drawn by the loop for this input
};

template <class Life>
struct Step {
  Verdict verdict = Verdict::kRejected;
  Life next;
  std::string_view trigger;   // name of the input type; static storage
  std::uint32_t effects = 0;  // bits of the machine's own effect enum
};

__extension__ using Wide = unsigned __int128;  // a GNU extension both our compilers have

// A draw in [low, high] from 64 random bits. Same bits, same result, on every build.
constexpr std::int64_t draw_between(std::uint64_t random, std::int64_t low, std::int64_t high) {
  if (high <= low) return low;
  const auto span = static_cast<std::uint64_t>(high - low);
  // Multiply-shift instead of modulo: no bias worth naming and no division.
  return low + static_cast<std::int64_t>((static_cast<Wide>(random) * (span + 1)) >> 64);
}

}  // namespace decklog::statemachines
