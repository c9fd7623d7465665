// Every bound of the routing room, with its unit. Reaching one is a refusal at compile time or "undefined" at
// evaluation time, never a crash and never work that grows faster than the input.
#pragma once

#include <cstddef>
#include <cstdint>

namespace decklog::routing {

inline constexpr std::size_t kMaxQueryBytes = 64 * 1024;     // one route or condition
inline constexpr std::size_t kMaxNodes = 16 * 1024;          // parts of one condition
inline constexpr std::uint32_t kMaxNestingLevels = 100;      // brackets, calls and prefix operators
inline constexpr std::size_t kMaxPathSteps = 64;             // steps of one $body path
inline constexpr std::size_t kMaxArguments = 64;             // arguments of one call
inline constexpr std::size_t kMaxBodyBytes = 1024 * 1024;    // a larger body is not read: undefined
inline constexpr std::size_t kMaxBodyDepthLevels = 64;       // JSON nesting
inline constexpr std::size_t kMaxTextWorkBytes = 16u << 20;  // text made or scanned for one condition
inline constexpr std::size_t kMaxRoutes = 1000;              // one route set
inline constexpr std::size_t kMaxRouteNameBytes = 1024;

inline constexpr std::uint32_t kDefaultPriority = 2'000'000'000;  // below every explicit one
inline constexpr std::uint32_t kMaxPriority = 9;                  // 0 is the highest

}  // namespace decklog::routing
