#include "persistence/message_store_lanes.hpp"

namespace decklog::persistence {

std::optional<std::uint8_t> PriorityPicker::pick() {
  std::optional<std::uint8_t> best;
  std::int32_t total = 0;
  for (std::uint8_t i = 0; i < kPriorities; ++i) {
    if (waiting_[i] == 0) {
      credit_[i] = 0;  // no saving up while idle: a priority that wakes does not take a burst
      continue;
    }
    total += kWeights[i];
    credit_[i] += kWeights[i];
    if (!best || credit_[i] > credit_[*best]) best = i;
  }
  if (best) credit_[*best] -= total;
  return best;
}

std::uint64_t lane_of(std::string_view identity) {
  // FNV-1a, 64 bits: stored, so it must not change with the library or the build. Zero means "all lanes".
  std::uint64_t hash = 14695981039346656037ull;
  for (const char c : identity) hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211ull;
  return hash == 0 ? 1 : hash;
}

}  // namespace decklog::persistence
