// Which priority of an endpoint is served next. Pure; one picker for each endpoint, on its executor.
//
// Smooth weighted round robin: a priority gets a share of the turns in proportion to its weight among those
// that have something to send, so 0 comes first but 9 is never starved. A turn is one fetch() of that
// priority's queue.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "persistence/message_store_types.hpp"

namespace decklog::persistence {

class PriorityPicker final {
 public:
  // Each priority weighs half of the one before it, with a floor so that the last still gets about one turn
  // in 130.
  static constexpr std::array<std::int32_t, kPriorities> kWeights = {64, 32, 16, 8, 4, 2, 1, 1, 1, 1};

  void set_backlog(std::uint8_t priority, std::uint64_t waiting) { waiting_.at(priority) = waiting; }
  // The priority to serve now; nothing when no priority has a backlog.
  std::optional<std::uint8_t> pick();

 private:
  std::array<std::uint64_t, kPriorities> waiting_{};
  std::array<std::int32_t, kPriorities> credit_{};
};

}  // namespace decklog::persistence
