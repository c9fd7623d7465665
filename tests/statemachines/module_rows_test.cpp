// Every row of ModuleLifecycle's table is taken, every other pair answered as listed. The lives are found by
// walking: from the first life, every input that makes sense, breadth first, one life for each shape worth
// telling apart. Each step on the way is held to the rules.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "tests/statemachines/module_sim.hpp"

namespace decklog::statemachines::sim {
namespace {

constexpr std::size_t kMaxLives = 12'000;
constexpr std::int64_t kNow = 1'000'000'000'000;

std::vector<ModuleInput> all_inputs() {
  std::vector<ModuleInput> inputs = {
      TurnGranted{},      TurnRevoked{},        PullSucceeded{},    PullFailed{},       DigestRejected{},
      CreateSucceeded{1}, CreateSucceeded{2},   CreateFailed{},     CreateFailed{true}, StartSucceeded{},
      StartFailed{},      StopSucceeded{0, 15}, StopFailed{},       RemoveSucceeded{},  RemoveFailed{},
      SeenCreated{1},     SeenCreated{2},       SeenRunning{1},     SeenRunning{2},     SeenAbsent{},
      HealthPassed{},     HealthFailed{},       ModuleTimerFired{}, OperatorRestart{},  OperatorStop{},
      OperatorStart{},    EngineGone{},         EngineBack{},       DeviceRebooted{}};
  for (EndCause cause : {EndCause::kClean, EndCause::kError, EndCause::kShutdown}) {
    inputs.push_back(SeenExited{1, cause, cause == EndCause::kClean ? 0 : 1, 0});
    inputs.push_back(SeenExited{2, cause, cause == EndCause::kClean ? 0 : 1, 0});
  }
  for (ModuleTarget target : {ModuleTarget::kRunning, ModuleTarget::kStopped, ModuleTarget::kAbsent})
    for (RestartPolicy policy : {RestartPolicy::kNever, RestartPolicy::kOnFailure, RestartPolicy::kAlways})
      for (std::uint64_t spec : {1u, 2u})
        inputs.push_back(
            ModuleWanted{target, policy, spec, true, spec == 1 && policy == RestartPolicy::kAlways});
  inputs.push_back(ModuleWanted{ModuleTarget::kRunning, RestartPolicy::kAlways, 3, false, false});
  return inputs;
}

// What tells two lives apart for the rules of the table.
std::string shape(const ModuleLife& l, const ModuleContext& context) {
  std::string s;
  const auto add = [&](auto value) { s += static_cast<char>('0' + static_cast<int>(value)); };
  add(l.state), add(l.target), add(l.policy), add(l.pending), add(l.last_end), add(l.needs_pull),
      add(l.replacing);
  add(l.may_start), add(l.exists), add(l.has_probe), add(l.operator_hold), add(l.gave_up), add(l.blind);
  add(is_stale(l)), add(is_refused(l)), add(l.deadline_mono_ns != 0), add(is_exhausted(l, context.restart));
  add(l.work_failures + 1 >= context.restart.max_tries), add(l.backoff_wait_ns != 0);
  add(l.healthy_since_mono_ns != 0), add(has_counters(l));
  return s;
}

class Walk {
 public:
  explicit Walk(RestartSettings settings) { context_.restart = settings; }

  void run() {
    seen_.insert(shape(ModuleLife{}, context_));
    open_.push_back(ModuleLife{});
    const auto inputs = all_inputs();
    while (!open_.empty()) {
      const ModuleLife life = open_.front();
      open_.pop_front();
      for (const ModuleInput& input : inputs) {
        try_one(life, input);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
  const std::set<const RowName*>& rows() const { return rows_; }
  std::size_t lives() const { return seen_.size(); }

 private:
  void try_one(const ModuleLife& life, const ModuleInput& input) {
    // Timers fire when they are due; runs are long enough to be stable half of the time.
    context_.now.ns = kNow;
    if (std::holds_alternative<ModuleTimerFired>(input) && life.deadline_mono_ns != 0)
      context_.now.ns = life.deadline_mono_ns;
    context_.random = 0x1234'5678'9ABC'DEF0ull * (++steps_);
    RowTrace trace;
    const ModuleStep step = module::step_traced(life, input, context_, trace);
    const std::string rule = broken_rule(life, input, context_, step);
    ASSERT_EQ(rule, "") << step.trigger << " in state " << int(life.state) << ": "
                        << status_description(life, context_.now);
    for (std::size_t i = 0; i < trace.count; ++i) rows_.insert(trace.rows[i]);
    check_pair(life, input, step);
    if (step.verdict == Verdict::kTaken && seen_.size() < kMaxLives &&
        seen_.insert(shape(step.next, context_)).second)
      open_.push_back(step.next);
  }
  void check_pair(const ModuleLife& life, const ModuleInput& input, const ModuleStep& step) {
    const Pair pair = module::kPairs.at(life.state, input.index());
    if (pair == Pair::kIgnored) {
      ASSERT_EQ(step.verdict, Verdict::kIgnored) << step.trigger;
    }
    if (pair == Pair::kRejected) {
      ASSERT_EQ(step.verdict, Verdict::kRejected) << step.trigger;
    }
    answered_.insert({life.state, input.index()});
  }

 public:
  std::set<std::pair<ModuleState, std::size_t>> answered_;

 private:
  ModuleContext context_;
  std::uint64_t steps_ = 0;
  std::set<std::string> seen_;
  std::deque<ModuleLife> open_;
  std::set<const RowName*> rows_;
};

TEST(ModuleRows, EveryRowIsTakenAndEveryPairAnswered) {
  RestartSettings slow;
  slow.max_tries = 2;
  RestartSettings graceful = slow;
  graceful.unhealthy_stop_grace = std::chrono::seconds(30);
  graceful.max_tries = 1;
  graceful.after_tries = RestartSettings::AfterTries::kGiveUp;
  std::set<const RowName*> taken;
  for (const RestartSettings& settings : {slow, graceful}) {
    Walk walk(settings);
    walk.run();
    taken.insert(walk.rows().begin(), walk.rows().end());
    EXPECT_GT(walk.lives(), 1000u);
    EXPECT_EQ(walk.answered_.size(), mp::mp_size<module::States>::value * mp::mp_size<module::Inputs>::value);
    if (HasFatalFailure()) return;
  }
  for (const RowName* row : row_names<module::Rows>())
    EXPECT_TRUE(taken.contains(row)) << row->source << " --" << row->event << "--> " << row->target << " / "
                                     << row->action << " is never taken";
}

TEST(ModuleRows, AStateOfALaterBuildIsNoCrash) {
  ModuleLife life;
  life.state = static_cast<ModuleState>(23);
  const ModuleStep result = step(life, SeenRunning{1}, {});
  EXPECT_EQ(result.verdict, Verdict::kRejected);
  EXPECT_EQ(result.next, life);
  life.state = static_cast<ModuleState>(255);
  EXPECT_EQ(step(life, ModuleTimerFired{}, {}).verdict, Verdict::kRejected);
}

}  // namespace
}  // namespace decklog::statemachines::sim
