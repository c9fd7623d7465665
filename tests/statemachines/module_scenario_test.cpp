// ModuleLifecycle step by step, as people meet it.
#include <gtest/gtest.h>

#include "tests/statemachines/module_sim.hpp"

namespace decklog::statemachines::sim {
namespace {

class ModuleScenario : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const auto& rule : sim.broken) ADD_FAILURE() << rule;
  }
  // Runs, version 1.
  void deploy(RestartPolicy policy = RestartPolicy::kAlways) {
    sim.feed(running(1, policy));
    sim.feed(TurnGranted{});
    while (sim.finish()) {
    }
    sim.observe();
    ASSERT_EQ(sim.state(), ModuleState::kRunning);
  }
  void expect(ModuleState state, std::uint32_t asked) {
    EXPECT_EQ(sim.state(), state) << sim.log;
    EXPECT_EQ(sim.last.effects & kWorkEffects, asked) << effect_names(sim.last.effects);
  }
  Sim sim;
};

TEST_F(ModuleScenario, FirstDeploymentWaitsForItsTurn) {
  sim.feed(running());
  expect(ModuleState::kDownloading, kPull);
  sim.finish();
  expect(ModuleState::kCreating, kCreate);
  sim.finish();
  expect(ModuleState::kCreated, 0);
  EXPECT_EQ(status_description(sim.life, sim.context.now),
            "created, waiting for its turn in the startup order");
  sim.feed(TurnGranted{});
  expect(ModuleState::kStarting, kStart);
  sim.finish();
  expect(ModuleState::kRunning, 0);
  EXPECT_EQ(sim.life.restart_count, 0u);
  EXPECT_NE(sim.last.effects & kInspect, 0u);
}

TEST_F(ModuleScenario, DesiredStoppedIsCreatedAndNotStarted) {
  sim.feed(wanted(ModuleTarget::kStopped));
  sim.feed(TurnGranted{});
  while (sim.finish()) {
  }
  expect(ModuleState::kStopped, 0);
  EXPECT_TRUE(sim.life.exists);
  EXPECT_EQ(sim.starts_seen, 0);
  sim.feed(running());
  expect(ModuleState::kStarting, kStart);
}

TEST_F(ModuleScenario, DesiredStoppedStopsWhatRunsAndOneMoreWishStartsIt) {
  deploy();
  sim.feed(wanted(ModuleTarget::kStopped));
  expect(ModuleState::kStopping, kStop);
  sim.finish();
  expect(ModuleState::kStopped, 0);
  EXPECT_EQ(sim.life.last_end, EndCause::kRequested);
  sim.feed(running());
  expect(ModuleState::kStarting, kStart);
}

TEST_F(ModuleScenario, DesiredStoppedWhilePullingStillEndsCreated) {
  sim.feed(running());
  sim.feed(TurnGranted{});
  sim.feed(wanted(ModuleTarget::kStopped));
  expect(ModuleState::kDownloading, 0);
  while (sim.finish()) {
  }
  expect(ModuleState::kStopped, 0);
  EXPECT_EQ(sim.starts_seen, 0);
}

TEST_F(ModuleScenario, AnUpdatePullsWhileTheOldVersionRuns) {
  deploy();
  sim.feed(running(2));
  expect(ModuleState::kRunning, kPull);
  EXPECT_EQ(sim.life.pending, PendingWork::kPull);
  EXPECT_TRUE(sim.life.replacing);
  sim.finish();
  expect(ModuleState::kStopping, kStop);
  sim.finish();
  expect(ModuleState::kRemoving, kRemove);
  sim.finish();
  expect(ModuleState::kCreating, kCreate);
  sim.finish();
  expect(ModuleState::kStarting, kStart);
  sim.finish();
  expect(ModuleState::kRunning, 0);
  EXPECT_EQ(sim.life.current_spec, 2u);
  EXPECT_FALSE(sim.life.replacing);
  EXPECT_EQ(sim.life.restart_count, 0u);
}

TEST_F(ModuleScenario, ANewerVersionCancelsThePullOfTheOlder) {
  deploy();
  sim.feed(running(2));
  sim.feed(running(3));
  EXPECT_EQ(sim.last.effects & (kCancelPull | kPull), kCancelPull | kPull);
  expect(ModuleState::kRunning, kPull);
  sim.feed(running(1));  // and back to what runs
  EXPECT_EQ(sim.last.effects & (kCancelPull | kPull), std::uint32_t{kCancelPull});
  EXPECT_EQ(sim.life.pending, PendingWork::kNone);
  EXPECT_FALSE(sim.life.needs_pull);
}

TEST_F(ModuleScenario, ANewerVersionCancelsAFirstPull) {
  sim.feed(running(1));
  sim.feed(running(2));
  EXPECT_EQ(sim.last.effects & (kCancelPull | kPull), kCancelPull | kPull);
  expect(ModuleState::kDownloading, kPull);
}

TEST_F(ModuleScenario, SettingsAloneChangeInPlace) {
  deploy();
  sim.feed(running(1, RestartPolicy::kNever));
  expect(ModuleState::kRunning, 0);
  EXPECT_EQ(sim.last.reason, ModuleReason::kSettingsChanged);
  EXPECT_EQ(sim.feed(running(1, RestartPolicy::kNever)).verdict, Verdict::kIgnored);
}

TEST_F(ModuleScenario, AnUpdateThatCannotBePulledLeavesTheOldVersionRunningAndTriesAgain) {
  deploy();
  sim.feed(running(2));
  for (int failure = 1; failure <= 4; ++failure) {
    sim.fail();
    EXPECT_EQ(sim.state(), ModuleState::kRunning);
    EXPECT_EQ(sim.life.work_failures, static_cast<std::uint32_t>(failure));
    EXPECT_EQ(sim.life.backoff_step_ns,
              std::chrono::nanoseconds(std::chrono::seconds(10 << (failure - 1))).count());
    EXPECT_TRUE(sim.fire_timer());
    expect(ModuleState::kRunning, kPull);
  }
  EXPECT_EQ(sim.stops_seen, 0);
  sim.settle();
  EXPECT_EQ(sim.life.current_spec, 2u);
}

TEST_F(ModuleScenario, AFirstPullThatFailsBacksOff) {
  sim.feed(running());
  sim.fail();
  expect(ModuleState::kBackingOff, 0);
  EXPECT_EQ(sim.last.reason, ModuleReason::kPullFailed);
  EXPECT_STREQ(to_runtime_status(sim.state()), "backoff");
  sim.fire_timer();
  expect(ModuleState::kDownloading, kPull);
}

TEST_F(ModuleScenario, AWrongDigestIsNotStarted) {
  sim.feed(running());
  sim.feed(TurnGranted{});
  sim.work = PendingWork::kNone;
  sim.feed(DigestRejected{});
  expect(ModuleState::kImageRejected, 0);
  EXPECT_STREQ(to_runtime_status(sim.state()), "failed");
  sim.feed(running(2));  // a new document is a new chance
  expect(ModuleState::kDownloading, kPull);
}

TEST_F(ModuleScenario, AWrongDigestOfAnUpdateLeavesTheOldVersionRunning) {
  deploy();
  sim.feed(running(2));
  sim.work = PendingWork::kNone;
  sim.feed(DigestRejected{});
  expect(ModuleState::kRunning, 0);
  EXPECT_EQ(sim.life.refused_spec, 2u);
  EXPECT_EQ(status_description(sim.life, sim.context.now), "previous version; the wanted image was refused");
  // It crashes: the old one is what comes back.
  sim.exit(1);
  expect(ModuleState::kBackingOff, 0);
  sim.fire_timer();
  expect(ModuleState::kStarting, kStart);
  EXPECT_EQ(sim.pulls_seen, 2);
}

TEST_F(ModuleScenario, ACrashDuringAnUpdatesPullStartsTheOldOneAgainIfThePullFails) {
  deploy();
  sim.feed(running(2));
  sim.exit(1);
  expect(ModuleState::kBackingOff, 0);
  EXPECT_EQ(sim.work, PendingWork::kPull);
  sim.fire_timer();
  expect(ModuleState::kDownloading, 0);
  sim.fail();
  expect(ModuleState::kStarting, kStart);
  EXPECT_EQ(sim.spec, 1u);
  sim.finish();
  expect(ModuleState::kRunning, kPull);  // and the update is tried again at once
}

TEST_F(ModuleScenario, ACrashDuringAnUpdatesPullTakesTheNewVersionWhenItIsThere) {
  deploy(RestartPolicy::kNever);
  sim.feed(running(2, RestartPolicy::kNever));
  sim.exit(1);  // `never` would let the old version rest; the new one never ended
  sim.settle();
  EXPECT_EQ(sim.state(), ModuleState::kRunning) << sim.log;
  EXPECT_EQ(sim.life.current_spec, 2u);
}

TEST_F(ModuleScenario, RemovalFromRunningStopsRemovesAndForgets) {
  deploy();
  sim.feed(wanted(ModuleTarget::kAbsent));
  expect(ModuleState::kStopping, kStop);
  sim.finish();
  expect(ModuleState::kRemoving, kRemove);
  sim.finish();
  expect(ModuleState::kRemoved, 0);
  sim.feed(running(1));
  expect(ModuleState::kDownloading, kPull);
}

TEST_F(ModuleScenario, AStopThatFailsIsAskedAgain) {
  deploy();
  sim.feed(wanted(ModuleTarget::kStopped));
  sim.fail();
  expect(ModuleState::kStopping, 0);
  EXPECT_NE(sim.last.effects & kInspect, 0u);
  sim.fire_timer();
  expect(ModuleState::kStopping, kStop);
}

TEST_F(ModuleScenario, AnImageThatVanishedIsPulledAgainAfterTheBackoff) {
  deploy();
  sim.presence = Sim::Presence::kAbsent;
  sim.observe();
  expect(ModuleState::kCreating, kCreate);
  sim.work = PendingWork::kNone;
  sim.feed(CreateFailed{.image_missing = true});
  expect(ModuleState::kBackingOff, 0);
  sim.fire_timer();
  expect(ModuleState::kDownloading, kPull);
}

TEST_F(ModuleScenario, AVanishedContainerIsMadeAgainAndStartedAfterAWait) {
  deploy();
  sim.presence = Sim::Presence::kAbsent;
  sim.observe();
  EXPECT_EQ(sim.last.reason, ModuleReason::kVanished);
  sim.finish();
  expect(ModuleState::kBackingOff, 0);
  EXPECT_EQ(sim.life.last_end, EndCause::kLost);
  sim.settle();
  EXPECT_EQ(sim.state(), ModuleState::kRunning);
  EXPECT_EQ(sim.starts_seen, 2);
}

TEST_F(ModuleScenario, BackoffDoublesUpToItsCapThenFailsWithASlowProbe) {
  sim.context.restart.max_tries = 7;
  deploy();
  std::vector<std::int64_t> steps;
  for (int n = 0; n < 7; ++n) {
    sim.exit(1);
    ASSERT_EQ(sim.state(), ModuleState::kBackingOff) << n;
    steps.push_back(sim.life.backoff_step_ns / 1'000'000'000);
    EXPECT_EQ(sim.last.reason, ModuleReason::kPolicyRestart);
    sim.fire_timer();
    EXPECT_EQ(sim.life.restart_count, static_cast<std::uint32_t>(n + 1));
    sim.finish();
  }
  EXPECT_EQ(steps, (std::vector<std::int64_t>{10, 20, 40, 80, 160, 300, 300}));
  sim.exit(1);
  EXPECT_EQ(sim.state(), ModuleState::kFailed);
  EXPECT_EQ(sim.last.reason, ModuleReason::kTriesExhausted);
  EXPECT_EQ(sim.life.backoff_step_ns, Duration(std::chrono::minutes(30)).count());
  sim.fire_timer();
  EXPECT_EQ(sim.last.reason, ModuleReason::kSlowProbe);
  expect(ModuleState::kStarting, kStart);
}

TEST_F(ModuleScenario, GivingUpForGoodIsASetting) {
  sim.context.restart.max_tries = 1;
  sim.context.restart.after_tries = RestartSettings::AfterTries::kGiveUp;
  deploy();
  sim.exit(1);
  sim.fire_timer();
  sim.finish();
  sim.exit(1);
  EXPECT_EQ(sim.state(), ModuleState::kFailed);
  EXPECT_TRUE(sim.life.gave_up);
  EXPECT_EQ(sim.timer, 0);
  sim.feed(OperatorRestart{});
  expect(ModuleState::kStarting, kStart);
}

TEST_F(ModuleScenario, RunningWellLongEnoughResetsTheCounters) {
  deploy();
  sim.exit(1);
  sim.settle();
  ASSERT_EQ(sim.state(), ModuleState::kRunning);
  EXPECT_EQ(sim.life.restart_count, 0u);
  EXPECT_EQ(sim.last.reason, ModuleReason::kStableLongEnough);
}

TEST_F(ModuleScenario, ALateStableTimerChangesNothing) {
  deploy();
  sim.exit(1);
  sim.fire_timer();
  sim.finish();
  ASSERT_EQ(sim.life.restart_count, 1u);
  sim.run_for(std::chrono::minutes(11));  // the timer is late; the crash comes first
  sim.exit(1);
  EXPECT_EQ(sim.life.restart_count, 0u);
  EXPECT_EQ(sim.life.backoff_step_ns, Duration(std::chrono::seconds(10)).count());
}

TEST_F(ModuleScenario, TimersThatAreLateOrDoubleAreHarmless) {
  deploy();
  EXPECT_EQ(sim.feed(ModuleTimerFired{}).verdict, Verdict::kIgnored);
  sim.exit(1);
  EXPECT_EQ(sim.feed(ModuleTimerFired{}).verdict,
            Verdict::kIgnored);  // of an earlier arming: too early for this one
  sim.fire_timer();
  expect(ModuleState::kStarting, kStart);
  EXPECT_EQ(sim.feed(ModuleTimerFired{}).verdict, Verdict::kIgnored);
}

TEST_F(ModuleScenario, UnhealthyIsEndedByPolicyAndRestartedThroughTheBackoff) {
  deploy(RestartPolicy::kOnUnhealthy);
  sim.feed(HealthFailed{});
  expect(ModuleState::kStopping, kStop);
  sim.finish();
  expect(ModuleState::kBackingOff, 0);
  EXPECT_EQ(sim.life.last_end, EndCause::kUnhealthy);
  sim.fire_timer();
  expect(ModuleState::kStarting, kStart);
}

TEST_F(ModuleScenario, UnhealthyHasAGraceWhenSet) {
  sim.context.restart.unhealthy_stop_grace = std::chrono::seconds(30);
  deploy();
  sim.feed(HealthFailed{});
  expect(ModuleState::kUnhealthy, 0);
  sim.feed(HealthPassed{});
  expect(ModuleState::kRunning, 0);
  EXPECT_EQ(sim.timer, 0);
  sim.feed(HealthFailed{});
  sim.fire_timer();
  expect(ModuleState::kStopping, kStop);
}

TEST_F(ModuleScenario, UnhealthyStaysWhereThePolicyDoesNotMind) {
  for (RestartPolicy policy : {RestartPolicy::kNever, RestartPolicy::kOnFailure}) {
    sim = Sim();
    deploy(policy);
    sim.feed(HealthFailed{});
    expect(ModuleState::kUnhealthy, 0);
    EXPECT_STREQ(to_runtime_status(sim.state()), "unhealthy");
    sim.feed(HealthPassed{});
    expect(ModuleState::kRunning, 0);
  }
}

TEST_F(ModuleScenario, AProbeDecidesSinceWhenItIsHealthy) {
  ModuleWanted wish = running();
  wish.has_probe = true;
  sim.feed(wish);
  sim.feed(TurnGranted{});
  while (sim.finish()) {
  }
  EXPECT_EQ(sim.life.healthy_since_mono_ns, 0);
  sim.feed(HealthPassed{});
  EXPECT_EQ(sim.life.healthy_since_mono_ns, sim.context.now.ns);
  EXPECT_EQ(sim.feed(HealthPassed{}).verdict, Verdict::kIgnored);
}

TEST_F(ModuleScenario, AnOperatorsStopHoldsUntilAnOperatorOrANewWish) {
  deploy();
  sim.feed(OperatorStop{});
  expect(ModuleState::kStopping, kStop);
  sim.finish();
  expect(ModuleState::kStopped, 0);
  EXPECT_EQ(status_description(sim.life, sim.context.now), "stopped by an operator");
  EXPECT_EQ(sim.feed(TurnGranted{}).verdict, Verdict::kIgnored);
  sim.feed(OperatorStart{});
  expect(ModuleState::kStarting, kStart);
}

TEST_F(ModuleScenario, AnOperatorsRestartStopsAndStartsWithFreshCounters) {
  deploy();
  sim.exit(1);
  sim.fire_timer();
  sim.finish();
  EXPECT_EQ(sim.life.restart_count, 1u);
  sim.feed(OperatorRestart{});
  expect(ModuleState::kStopping, kStop);
  sim.finish();
  expect(ModuleState::kStarting, kStart);
  EXPECT_EQ(sim.life.restart_count, 0u);
}

TEST_F(ModuleScenario, OperatorsAreRefusedWhereTheDeploymentWantsNone) {
  sim.feed(wanted(ModuleTarget::kStopped));
  while (sim.finish()) {
  }
  EXPECT_EQ(sim.feed(OperatorStart{}).verdict, Verdict::kRejected);
  EXPECT_EQ(sim.feed(OperatorRestart{}).verdict, Verdict::kRejected);
}

TEST_F(ModuleScenario, AnswersNobodyWaitsForAreRejected) {
  deploy();
  EXPECT_EQ(sim.feed(StartSucceeded{}).verdict, Verdict::kRejected);
  EXPECT_EQ(sim.feed(PullSucceeded{}).verdict, Verdict::kRejected);
  EXPECT_EQ(sim.feed(RemoveFailed{}).verdict, Verdict::kRejected);
}

TEST_F(ModuleScenario, NothingIsAskedOfAnEngineThatIsAway) {
  deploy();
  sim.lose_engine(false);
  EXPECT_EQ(sim.state(), ModuleState::kRunning);
  sim.feed(wanted(ModuleTarget::kStopped));
  expect(ModuleState::kRunning, 0);
  EXPECT_NE(status_description(sim.life, sim.context.now).find("runtime out of sight"), std::string::npos);
  sim.regain_engine();
  expect(ModuleState::kStopping, kStop);
}

TEST_F(ModuleScenario, AnEngineLostInAPullIsPulledFromAgain) {
  sim.feed(running());
  sim.lose_engine(false);
  expect(ModuleState::kDownloading, 0);
  sim.regain_engine();
  expect(ModuleState::kDownloading, kPull);
}

TEST_F(ModuleScenario, ABackoffThatEndsWhileTheEngineIsAwayGoesOnWhenItIsBack) {
  deploy();
  sim.exit(1);
  sim.lose_engine(false);
  sim.run_for(std::chrono::minutes(5));
  EXPECT_EQ(sim.feed(ModuleTimerFired{}).verdict, Verdict::kIgnored);
  sim.timer = 0;
  sim.regain_engine();
  EXPECT_NE(sim.timer, 0);  // armed again, overdue
  sim.fire_timer();
  expect(ModuleState::kStarting, kStart);
}

// Our own process died with work in flight, which may or may not have been done.
TEST_F(ModuleScenario, WorkLostWithOurProcessIsFoundOutAndDone) {
  for (bool done : {false, true}) {
    for (int works = 0; works <= 3; ++works) {
      sim = Sim();
      sim.feed(running());
      sim.feed(TurnGranted{});
      for (int i = 0; i < works; ++i) sim.finish();
      sim.lose_engine(done);
      sim.regain_engine();
      sim.settle();
      EXPECT_EQ(sim.state(), ModuleState::kRunning) << works << done << sim.log;
      EXPECT_EQ(sim.life.restart_count, 0u);
      for (const auto& rule : sim.broken) ADD_FAILURE() << rule;
    }
  }
}

TEST_F(ModuleScenario, AStopLostWithOurProcessIsAskedAgain) {
  for (bool done : {false, true}) {
    sim = Sim();
    deploy();
    sim.feed(OperatorRestart{});
    sim.lose_engine(done);
    sim.regain_engine();
    if (!done) expect(ModuleState::kStopping, kStop);
    sim.settle();
    EXPECT_EQ(sim.state(), ModuleState::kRunning);
    EXPECT_EQ(sim.starts_seen, 2);
  }
}

TEST_F(ModuleScenario, WhatRunsAlreadyIsAdopted) {
  sim.presence = Sim::Presence::kRunning;
  sim.spec = 1;
  sim.feed(EngineGone{});
  sim.feed(running(1));
  expect(ModuleState::kStopped, 0);
  sim.regain_engine();
  expect(ModuleState::kRunning, 0);
  EXPECT_EQ(sim.last.reason, ModuleReason::kAdopted);
  EXPECT_EQ(sim.pulls_seen + sim.starts_seen + sim.stops_seen, 0);
}

TEST_F(ModuleScenario, TheWrongVersionFoundRunningIsReplacedInOrder) {
  sim.presence = Sim::Presence::kRunning;
  sim.spec = 9;
  sim.feed(EngineGone{});
  sim.feed(running(1));
  sim.regain_engine();
  expect(ModuleState::kRunning, kPull);
  while (sim.finish()) {
  }
  expect(ModuleState::kCreated, 0);  // its turn has not come
  EXPECT_EQ(sim.life.current_spec, 1u);
}

TEST_F(ModuleScenario, AStrangerNobodyWantsIsStoppedAndRemoved) {
  sim.presence = Sim::Presence::kRunning;
  sim.feed(wanted(ModuleTarget::kAbsent));
  expect(ModuleState::kRemoved, 0);
  sim.observe();
  expect(ModuleState::kStopping, kStop);
  sim.settle();
  expect(ModuleState::kRemoved, 0);
}

TEST_F(ModuleScenario, RebootMidUpdateStartsTheOldVersionWithoutTheRegistry) {
  deploy();
  sim.feed(running(2));
  sim.reboot();
  expect(ModuleState::kStopped, 0);
  sim.feed(TurnGranted{});
  expect(ModuleState::kStarting, kStart);
  EXPECT_EQ(sim.spec, 1u);
  sim.finish();
  expect(ModuleState::kRunning, kPull);
}

TEST_F(ModuleScenario, WordsNameTheNumbers) {
  deploy();
  for (int i = 0; i < 2; ++i) {
    sim.exit(1);
    sim.fire_timer();
    sim.finish();
  }
  sim.exit(1);
  sim.life.deadline_mono_ns = sim.context.now.ns + 37'000'000'000;
  EXPECT_EQ(status_description(sim.life, sim.context.now, 20),
            "restart 3 of 20 in 37s (step 40s) after exit code 1");
  EXPECT_EQ(status_description(sim.life, sim.context.now), "restart 3 in 37s (step 40s) after exit code 1");
  EXPECT_NE(reason_text(ModuleReason::kPolicyRestart, sim.life).find("restart 3"), std::string::npos);
  EXPECT_EQ(effect_names(kPull | kArmTimer), "pull, arm-timer");
  for (int reason = 1; reason <= 39; ++reason)
    EXPECT_NE(reason_text(static_cast<ModuleReason>(reason), sim.life), "unknown reason") << reason;
}

}  // namespace
}  // namespace decklog::statemachines::sim
