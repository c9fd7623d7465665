// Time as values. Nothing in events/ or statemachines/ reads a clock: an Instant is an argument, taken once
// by the loop for each input and recorded with it, so that replay sees the same time the device saw.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "events/result.hpp"

namespace decklog {

using Duration = std::chrono::nanoseconds;

// Nanoseconds since the Unix epoch, UTC. For people and for other systems; never for arithmetic on delays.
struct WallTime {
  std::int64_t ns = 0;
  friend auto operator<=>(const WallTime&, const WallTime&) = default;
};

// Nanoseconds since boot (CLOCK_BOOTTIME: counts while suspended, never steps). Comparable within one boot
// only.
struct MonoTime {
  std::int64_t ns = 0;
  friend auto operator<=>(const MonoTime&, const MonoTime&) = default;
  friend MonoTime operator+(MonoTime t, Duration d) { return {t.ns + d.count()}; }
  friend Duration operator-(MonoTime a, MonoTime b) { return Duration(a.ns - b.ns); }
};

struct Instant {
  WallTime wall;
  MonoTime mono;
  friend bool operator==(const Instant&, const Instant&) = default;
};

// "2026-11-24T03:15:19.843594Z": UTC, microseconds, always with Z. Zero prints as "never".
std::string to_rfc3339(WallTime time);
Result<WallTime> parse_rfc3339(std::string_view text);

// "10s", "1m30s", "2h", "250ms": for people.
std::string to_text(Duration duration);
// Accepts "250ms", "10s", "5m", "2h", "1d" and concatenations of them ("1m30s").
Result<Duration> parse_duration(std::string_view text);

}  // namespace decklog
