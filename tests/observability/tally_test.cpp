// Counters are a fold over the log: the same events, the same counters, whatever was saved in between.
#include "observability/tally.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/events/sample_facts.hpp"

namespace decklog::observability {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
const ModuleName kSensor("sensor");

class TallyTest : public testing::Test {
 protected:
  void take(std::int64_t at_second, Fact fact) {
    Envelope event;
    event.sequence = Sequence{++sequence_};
    event.boot = boot_;
    event.time.mono = {at_second * kSecond};
    event.fact = std::move(fact);
    tally_.take(event);
  }
  void step(std::int64_t at, ModuleState from, ModuleState to, ModuleReason reason = ModuleReason::kNone,
            EndCause end = EndCause::kNone) {
    ModuleTransitioned fact{.module = kSensor, .from = from, .to = to, .reason = reason};
    fact.life.target = ModuleTarget::kRunning;
    fact.life.last_end = end;
    take(at, fact);
  }
  ModuleTally& sensor() { return tally_.modules.at("sensor"); }
  double correct(std::int64_t at) { return tally_.correct_seconds(sensor(), {at * kSecond}); }
  double expected(std::int64_t at) { return tally_.expected_seconds(sensor(), {at * kSecond}); }

  Tally tally_;
  BootId boot_{"boot-1"};
  std::uint64_t sequence_ = 0;
};

TEST_F(TallyTest, CountsStartsEndsAndRestartsByHowTheyEnded) {
  step(10, ModuleState::kStarting, ModuleState::kRunning);
  step(20, ModuleState::kRunning, ModuleState::kUnhealthy);
  step(25, ModuleState::kUnhealthy, ModuleState::kRunning);
  step(30, ModuleState::kRunning, ModuleState::kBackingOff, ModuleReason::kPolicyRestart, EndCause::kError);
  step(40, ModuleState::kStarting, ModuleState::kRunning);
  step(50, ModuleState::kRunning, ModuleState::kBackingOff, ModuleReason::kPolicyRestart,
       EndCause::kOutOfMemory);
  EXPECT_EQ(sensor().transitions, 6u);
  EXPECT_EQ(sensor().starts, 2u);
  EXPECT_EQ(sensor().stops, 2u);
  EXPECT_EQ(sensor().restarts, (std::map<std::string, std::uint64_t>{{name_of(EndCause::kError), 1},
                                                                     {name_of(EndCause::kOutOfMemory), 1}}));
}

TEST_F(TallyTest, CountsTheTimeAModuleIsAsWanted) {
  step(10, ModuleState::kStarting, ModuleState::kRunning);
  EXPECT_DOUBLE_EQ(correct(15), 5);
  step(30, ModuleState::kRunning, ModuleState::kBackingOff, ModuleReason::kPolicyRestart, EndCause::kError);
  EXPECT_DOUBLE_EQ(correct(100), 20);
  EXPECT_DOUBLE_EQ(expected(100), 90);
}

TEST_F(TallyTest, CountsNoTimeInWhichTheAgentDidNotRun) {
  step(10, ModuleState::kStarting, ModuleState::kRunning);
  take(70, TimerFired{"tick"});
  // Killed at 75; nobody knows about the time up to 200.
  take(200, ServiceStarted{});
  EXPECT_DOUBLE_EQ(correct(210), 60 + 10);
  EXPECT_DOUBLE_EQ(expected(210), 60 + 10);
}

TEST_F(TallyTest, AModuleDoesNotRunAfterABoot) {
  step(10, ModuleState::kStarting, ModuleState::kRunning);
  take(70, TimerFired{"tick"});
  boot_ = BootId("boot-2");
  take(5, ServiceStarted{});
  EXPECT_DOUBLE_EQ(correct(25), 60);
  EXPECT_DOUBLE_EQ(expected(25), 60 + 20);
  step(30, ModuleState::kStarting, ModuleState::kRunning);
  EXPECT_DOUBLE_EQ(correct(40), 60 + 10);
}

TEST_F(TallyTest, MeasuresWorkPullsAndDeployments) {
  take(1, WorkFinished{.module = kSensor, .work = PendingWork::kPull, .bytes = 500, .took_ns = 2 * kSecond});
  take(2, WorkFinished{.module = kSensor, .work = PendingWork::kStart, .took_ns = kSecond / 4});
  take(3, DeploymentTransitioned{.to = DeploymentState::kApplying, .reason = DeploymentReason::kAccepted});
  take(9, DeploymentTransitioned{.from = DeploymentState::kApplying, .to = DeploymentState::kApplied});
  EXPECT_EQ(sensor().pull_bytes, 500u);
  EXPECT_DOUBLE_EQ(sensor().pull_seconds, 2);
  EXPECT_EQ(tally_.work.at(name_of(PendingWork::kPull)).count, 1u);
  EXPECT_EQ(tally_.deployments.count, 1u);
  EXPECT_DOUBLE_EQ(tally_.deployments.sum_seconds, 6);
}

TEST_F(TallyTest, CountsRefusalsReportsLinkStepsAndLosses) {
  DeploymentTransitioned rejected{.reason = DeploymentReason::kRejected};
  rejected.life.last_code = 400;
  take(1, rejected);
  take(2, InputRejected{.machine = "Uplink"});
  take(3, ReportAcknowledged{.code = 0});
  take(4, ReportAcknowledged{.code = 14});
  take(5, UplinkTransitioned{.from = UplinkState::kConnecting, .to = UplinkState::kConnected});
  take(6, GapRecorded{.gap = GapKind::kNotWritten, .count = 12});
  take(7, GapRecorded{.gap = GapKind::kCompacted, .count = 900});
  EXPECT_EQ(tally_.desired_rejected.at("400"), 1u);
  EXPECT_EQ(tally_.inputs_rejected.at("Uplink"), 1u);
  EXPECT_EQ(tally_.reports, 1u);
  EXPECT_EQ(tally_.reports_refused, 1u);
  EXPECT_EQ(tally_.uplink_transitions.at("connected"), 1u);
  EXPECT_EQ(tally_.not_written, 12u);
}

TEST_F(TallyTest, ARemovedModuleIsForgotten) {
  step(10, ModuleState::kStarting, ModuleState::kRunning);
  step(20, ModuleState::kRemoving, ModuleState::kRemoved);
  EXPECT_TRUE(tally_.modules.empty());
}

TEST(TallyFold, SavedAnywhereAndReadBackGoesOnTheSame) {
  rc::check([](std::uint64_t seed, std::uint8_t cut) {
    Tally whole, first;
    std::vector<Envelope> events;
    for (std::uint64_t i = 1; i <= 40; ++i) {
      auto event =
          fixture::make_event(1 + (seed + i * 7) % (kFactTypes - 1), seed + i, fixture::TextKind::kPlain);
      event.sequence = Sequence{i};
      event.time.mono = {static_cast<std::int64_t>(i) * kSecond};
      events.push_back(event);
    }
    const std::size_t split = cut % events.size();
    for (std::size_t i = 0; i < events.size(); ++i) {
      whole.take(events[i]);
      if (i < split) first.take(events[i]);
    }
    auto second = Tally::from_json(first.to_json());
    RC_ASSERT(second.has_value());
    for (std::size_t i = split; i < events.size(); ++i) second->take(events[i]);
    RC_ASSERT(second->to_json() == whole.to_json());
  });
}

TEST(TallyFold, RefusesWhatIsNoTally) {
  for (const char* text : {"", "{}", "[]", "null", R"({"through":1,"boot":5})", R"({"modules":{"a":1}})"}) {
    const auto tally = Tally::from_json(text);
    ASSERT_FALSE(tally) << text;
    EXPECT_EQ(tally.error().code, Errc::kCorrupt);
  }
}

TEST(Spread, GivesTheUpperEdgeOfTheBucket) {
  Spread spread;
  EXPECT_EQ(spread.quantile(0.5), 0);
  for (int i = 0; i < 90; ++i) spread.add(0.010);
  for (int i = 0; i < 10; ++i) spread.add(3.0);
  EXPECT_EQ(spread.count, 100u);
  EXPECT_NEAR(spread.sum_seconds, 30.9, 1e-9);
  EXPECT_DOUBLE_EQ(spread.quantile(0.5), 0.016);
  EXPECT_DOUBLE_EQ(spread.quantile(0.9), 0.016);
  EXPECT_DOUBLE_EQ(spread.quantile(0.99), 4.096);
  spread.add(1e12);
  EXPECT_GT(spread.quantile(1), 8000);
}

}  // namespace
}  // namespace decklog::observability
