// Counters as a projection of the log: folded event by event, kept beside the state snapshots, so that they
// survive restarts and can be rebuilt from the log itself. Values; one owner.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "events/event.hpp"
#include "events/result.hpp"

namespace decklog::observability {

// Latencies in buckets of powers of two of a millisecond: quantiles within a factor of two, without samples
// kept.
struct Spread {
  static constexpr std::size_t kBuckets = 24;
  std::uint64_t count = 0;
  double sum_seconds = 0;
  std::array<std::uint64_t, kBuckets> buckets{};

  void add(double seconds);
  double quantile(double q) const;  // seconds; upper edge of the bucket
};

struct ModuleTally {
  std::uint64_t transitions = 0, starts = 0, stops = 0;
  std::map<std::string, std::uint64_t> restarts;  // by how it ended
  double pull_seconds = 0;
  std::uint64_t pull_bytes = 0;
  double correct_seconds = 0, expected_seconds = 0;  // up to `since`
  bool correct = false, expected = false;            // what counts from `since` on
  MonoTime since;
};

struct Tally {
  Sequence through;
  BootId boot;  // of the newest event, and when it was: time counts up to here when the agent is killed
  MonoTime seen;
  std::map<std::string, ModuleTally> modules;
  std::map<std::string, Spread> work;  // by kind of work
  Spread deployments;
  MonoTime applying_since;                                  // {0} = not applying
  std::map<std::string, std::uint64_t> desired_rejected;    // by code
  std::map<std::string, std::uint64_t> inputs_rejected;     // by machine
  std::map<std::string, std::uint64_t> uplink_transitions;  // by state reached
  std::uint64_t reports = 0, reports_refused = 0, not_written = 0;

  void take(const Envelope& event);
  // Seconds counted up to `now` of the same boot.
  double correct_seconds(const ModuleTally& module, MonoTime now) const;
  double expected_seconds(const ModuleTally& module, MonoTime now) const;

  std::string to_json() const;
  static Result<Tally> from_json(std::string_view text);
};

inline constexpr std::string_view kTallySnapshot = "tally";

}  // namespace decklog::observability
