// The whole restart table: every policy, every way to end, with and without a reboot after it. Written out,
// so that a change of any cell is a change of this file.
#include <gtest/gtest.h>

#include "tests/statemachines/module_sim.hpp"

namespace decklog::statemachines::sim {
namespace {

enum class Then { kBacksOff, kRests, kFails, kLost, kStarts };
using enum Then;

struct Cell {
  EndCause end;
  Then never, on_failure, on_unhealthy, always;
};
constexpr Cell kTable[] = {
    // how it ended           never    on-failure  on-unhealthy  always
    {EndCause::kClean, kRests, kRests, kRests, kBacksOff},
    {EndCause::kError, kFails, kBacksOff, kBacksOff, kBacksOff},
    {EndCause::kSignal, kFails, kBacksOff, kBacksOff, kBacksOff},
    {EndCause::kOutOfMemory, kFails, kBacksOff, kBacksOff, kBacksOff},
    {EndCause::kShutdown, kStarts, kStarts, kStarts, kStarts},
    {EndCause::kStartFailed, kFails, kBacksOff, kBacksOff, kBacksOff},
    {EndCause::kLost, kLost, kBacksOff, kBacksOff, kBacksOff},
};

Then expected(const Cell& cell, RestartPolicy policy) {
  switch (policy) {
    case RestartPolicy::kNever:
      return cell.never;
    case RestartPolicy::kOnFailure:
      return cell.on_failure;
    case RestartPolicy::kOnUnhealthy:
      return cell.on_unhealthy;
    case RestartPolicy::kAlways:
      return cell.always;
  }
  return kFails;
}
ModuleState state_of(Then then) {
  switch (then) {
    case kBacksOff:
      return ModuleState::kBackingOff;
    case kRests:
      return ModuleState::kStopped;
    case kFails:
      return ModuleState::kFailed;
    case kLost:
      return ModuleState::kLost;
    case kStarts:
      return ModuleState::kStarting;
  }
  return ModuleState::kRemoved;
}

Sim ended(RestartPolicy policy, EndCause end, bool unhealthy_first) {
  Sim sim;
  sim.feed(running(1, policy));
  sim.feed(TurnGranted{});
  sim.finish();
  sim.finish();
  if (end == EndCause::kStartFailed) {
    sim.fail();
    return sim;
  }
  sim.finish();
  if (unhealthy_first) sim.feed(HealthFailed{});
  if (sim.state() != ModuleState::kRunning && sim.state() != ModuleState::kUnhealthy) return sim;
  if (end == EndCause::kLost) {
    sim.presence = Sim::Presence::kAbsent;
    sim.observe();
    sim.finish();
    return sim;
  }
  sim.presence = Sim::Presence::kExited;
  sim.exit_code = end == EndCause::kClean ? 0 : 137;
  sim.feed(SeenExited{1, end, sim.exit_code, end == EndCause::kSignal ? 9 : 0});
  return sim;
}

constexpr RestartPolicy kPolicies[] = {RestartPolicy::kNever, RestartPolicy::kOnFailure,
                                       RestartPolicy::kOnUnhealthy, RestartPolicy::kAlways};

TEST(RestartTable, EveryPolicyMeetsEveryEnd) {
  for (const Cell& cell : kTable) {
    for (RestartPolicy policy : kPolicies) {
      for (bool unhealthy : {false, true}) {
        // Where the policy ends an unhealthy run, that end is tested below.
        if (unhealthy && policy_restarts(policy, EndCause::kUnhealthy)) continue;
        Sim sim = ended(policy, cell.end, unhealthy);
        EXPECT_EQ(sim.state(), state_of(expected(cell, policy)))
            << "end " << int(cell.end) << " policy " << int(policy) << "\n"
            << sim.log;
        EXPECT_EQ(sim.life.last_end, cell.end);
        EXPECT_EQ(sim.life.restart_count, 0u);
        for (const auto& rule : sim.broken) ADD_FAILURE() << rule;
        const bool wanted = policy_restarts(policy, cell.end);
        EXPECT_EQ(wanted, expected(cell, policy) == kBacksOff || expected(cell, policy) == kStarts);
        // Nothing but time is needed to come back, and nothing brings back what rests.
        sim.settle();
        EXPECT_EQ(sim.state() == ModuleState::kRunning, wanted) << sim.log;
      }
    }
  }
}

TEST(RestartTable, UnhealthyEndsOnlyWhereThePolicySaysSo) {
  for (RestartPolicy policy : kPolicies) {
    Sim sim = ended(policy, EndCause::kShutdown, false);
    sim.settle();
    sim.feed(HealthFailed{});
    const bool ends = policy == RestartPolicy::kOnUnhealthy || policy == RestartPolicy::kAlways;
    EXPECT_EQ(policy_restarts(policy, EndCause::kUnhealthy), ends);
    EXPECT_EQ(sim.state(), ends ? ModuleState::kStopping : ModuleState::kUnhealthy);
  }
}

// A reboot is no end of the module's own: what ran runs again at once, what rested rests, nothing is counted.
TEST(RestartTable, ARebootStartsWhatRanAndWakesNothingThatRested) {
  for (RestartPolicy policy : kPolicies) {
    Sim sim = ended(policy, EndCause::kShutdown, false);
    sim.settle();
    ASSERT_EQ(sim.state(), ModuleState::kRunning);
    const int starts = sim.starts_seen;
    sim.reboot();
    EXPECT_EQ(sim.state(), ModuleState::kStopped);
    EXPECT_EQ(sim.life.last_end, EndCause::kShutdown);
    EXPECT_FALSE(sim.life.may_start);
    sim.feed(TurnGranted{});
    EXPECT_EQ(sim.state(), ModuleState::kStarting);
    EXPECT_EQ(sim.starts_seen, starts + 1);
    EXPECT_EQ(sim.life.restart_count, 0u);
    for (const auto& rule : sim.broken) ADD_FAILURE() << rule;
  }
  for (const Cell& cell : kTable) {
    for (RestartPolicy policy : kPolicies) {
      const Then then = expected(cell, policy);
      Sim sim = ended(policy, cell.end, false);
      const std::uint32_t count = sim.life.restart_count;
      sim.reboot();
      sim.feed(TurnGranted{});
      if (then == kRests || then == kFails) {
        EXPECT_EQ(sim.state(), state_of(then)) << int(cell.end) << int(policy) << sim.log;
      } else if (then == kLost) {
        EXPECT_NE(sim.work, PendingWork::kStart) << sim.log;
      } else {
        EXPECT_EQ(sim.state(), ModuleState::kStarting) << int(cell.end) << int(policy) << sim.log;
        EXPECT_LE(sim.life.restart_count, count + 1);
      }
      for (const auto& rule : sim.broken) ADD_FAILURE() << rule;
    }
  }
}

TEST(RestartTable, EndsOfOursAreNoEndsOfTheModule) {
  for (RestartPolicy policy : kPolicies) {
    EXPECT_TRUE(policy_restarts(policy, EndCause::kNone));
    EXPECT_TRUE(policy_restarts(policy, EndCause::kRequested));
    EXPECT_TRUE(policy_restarts(policy, EndCause::kShutdown));
  }
}

TEST(Backoff, DrawsBetweenHalfAndWholeAndNeverBelowTheFloor) {
  RestartSettings settings;
  EXPECT_EQ(backoff_step(settings, 0), 10'000'000'000);
  EXPECT_EQ(backoff_step(settings, 4), 160'000'000'000);
  EXPECT_EQ(backoff_step(settings, 5), 300'000'000'000);
  EXPECT_EQ(backoff_step(settings, 4'000'000'000u), 300'000'000'000);
  settings.backoff_first = Duration(0);
  settings.backoff_cap = Duration(0);
  EXPECT_EQ(backoff_step(settings, 3), Duration(kBackoffStepMin).count());
  settings.backoff_first = Duration(INT64_MAX / 2 + 10);
  settings.backoff_cap = Duration(INT64_MAX);
  EXPECT_EQ(backoff_step(settings, 9), INT64_MAX);
  EXPECT_EQ(draw_between(0, 5, 10), 5);
  EXPECT_EQ(draw_between(~0ull, 5, 10), 10);
  EXPECT_EQ(draw_between(1, 7, 7), 7);
}

}  // namespace
}  // namespace decklog::statemachines::sim
