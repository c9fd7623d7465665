// A module, its machine and a runtime that is only pretended: what the rest of the agent does around
// ModuleLifecycle, in virtual time. Every step is held to the rules that must always be true (check_rules).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "statemachines/module_table.hpp"

namespace decklog::statemachines::sim {

inline constexpr std::uint32_t kWorkEffects = kPull | kCreate | kStart | kStop | kRemove;

inline std::uint32_t effect_of(PendingWork work) {
  switch (work) {
    case PendingWork::kPull:
      return kPull;
    case PendingWork::kCreate:
      return kCreate;
    case PendingWork::kStart:
      return kStart;
    case PendingWork::kStop:
      return kStop;
    case PendingWork::kRemove:
      return kRemove;
    case PendingWork::kNone:
      return 0;
  }
  return 0;
}
template <class... Inputs>
bool is_one_of(const ModuleInput& input) {
  return (std::holds_alternative<Inputs>(input) || ...);
}
inline bool answers(const ModuleInput& input, PendingWork work) {
  switch (work) {
    case PendingWork::kPull:
      return is_one_of<PullSucceeded, PullFailed, DigestRejected>(input);
    case PendingWork::kCreate:
      return is_one_of<CreateSucceeded, CreateFailed>(input);
    case PendingWork::kStart:
      return is_one_of<StartSucceeded, StartFailed>(input);
    case PendingWork::kStop:
      return is_one_of<StopSucceeded, StopFailed>(input);
    case PendingWork::kRemove:
      return is_one_of<RemoveSucceeded, RemoveFailed>(input);
    case PendingWork::kNone:
      return false;
  }
  return false;
}
inline bool may_have_timer(ModuleState state) {
  return state == ModuleState::kRunning || state == ModuleState::kUnhealthy ||
         state == ModuleState::kStopping || state == ModuleState::kBackingOff ||
         state == ModuleState::kFailed || state == ModuleState::kImageRejected ||
         state == ModuleState::kRemoving;
}

// What is broken by this step, in words; empty = nothing.
inline std::string broken_rule(const ModuleLife& before, const ModuleInput& input,
                               const ModuleContext& context, const ModuleStep& step) {
  const ModuleLife& after = step.next;
  if (step.trigger.empty()) return "a step without the name of its trigger";
  if (step.verdict != Verdict::kTaken)
    return after == before && step.effects == 0 ? "" : "a step not taken changed something";
  if (step.reason == ModuleReason::kNone) return "a step without a reason";
  if (after == before && step.effects == 0) return "a step that changes nothing and asks for nothing";

  const std::uint32_t asked = step.effects & kWorkEffects;
  if ((asked & (asked - 1)) != 0) return "two pieces of work asked for at once";
  if (asked != 0 && asked != effect_of(after.pending)) return "work asked for that is not the pending one";
  if (asked != 0 && after.blind) return "work asked for out of sight";
  const bool void_now = is_one_of<EngineGone, DeviceRebooted>(input);
  const bool over = answers(input, before.pending) || void_now || (step.effects & kCancelPull) != 0;
  if (before.pending != PendingWork::kNone && !over && (asked != 0 || after.pending != before.pending))
    return "work dropped or doubled while in flight";
  if (before.pending != PendingWork::kNone && before.pending != PendingWork::kPull &&
      !answers(input, before.pending) && !void_now && after.pending != before.pending)
    return "only a pull may be cancelled";
  if ((step.effects & kCancelPull) != 0 && before.pending != PendingWork::kPull)
    return "cancels a pull that is not";
  if (after.pending != PendingWork::kNone && asked == 0 && after.pending != before.pending)
    return "pending work nobody was asked for";

  if (asked == kStart &&
      !(after.target == ModuleTarget::kRunning && !after.operator_hold && after.may_start && after.exists &&
        !after.gave_up && policy_restarts(after.policy, after.last_end)))
    return "started though it should not run";
  if ((asked == kCreate) && before.exists && after.exists) return "created though it is there";
  if (asked == kCreate && after.needs_pull) return "created without its image";

  const bool armed = (step.effects & kArmTimer) != 0, cancelled = (step.effects & kCancelTimer) != 0;
  if (armed && cancelled) return "timer armed and cancelled";
  if (armed && after.deadline_mono_ns == 0) return "timer armed without a deadline";
  if (after.deadline_mono_ns != 0 && after.deadline_mono_ns != before.deadline_mono_ns && !armed)
    return "a deadline without its timer";
  if (before.deadline_mono_ns != 0 && after.deadline_mono_ns == 0 && !cancelled &&
      !is_one_of<ModuleTimerFired>(input))
    return "a timer left running";
  if (after.deadline_mono_ns != 0 && !may_have_timer(after.state))
    return "a timer in a state that has no use for it";
  if (after.state == ModuleState::kBackingOff) {
    if (after.deadline_mono_ns == 0) return "backing off without a deadline";
    if (after.backoff_wait_ns * 2 < after.backoff_step_ns || after.backoff_wait_ns > after.backoff_step_ns)
      return "wait outside half to whole of its step";
    if (after.backoff_wait_ns < kBackoffStepMin.count() / 2) return "wait below the floor";
    if (before.state != ModuleState::kBackingOff &&
        after.deadline_mono_ns != context.now.ns + after.backoff_wait_ns)
      return "deadline is not now and the wait";
  }
  if (after.restart_count < before.restart_count && after.restart_count != 0)
    return "restart count went back";

  const bool up = after.state == ModuleState::kRunning || after.state == ModuleState::kUnhealthy;
  const bool at_rest = after.pending == PendingWork::kNone && !after.blind;
  if (up && at_rest && (after.target != ModuleTarget::kRunning || after.operator_hold))
    return "left running at rest though not wanted";
  if (after.state == ModuleState::kRemoved && (after.exists || after.target != ModuleTarget::kAbsent))
    return "removed and yet there or wanted";
  if (after.state == ModuleState::kDownloading && at_rest) return "downloading and nobody is";
  if (after.state == ModuleState::kCreating && at_rest) return "creating and nobody is";
  if (after.state == ModuleState::kStarting && at_rest) return "starting and nobody is";
  if ((after.state == ModuleState::kStopping || after.state == ModuleState::kRemoving) && at_rest &&
      after.deadline_mono_ns == 0)
    return "stopping or removing and nobody is";

  // What follows from how things are has followed: deciding once more changes nothing.
  ModuleRun again{after, &context, 0, ModuleReason::kNone, {}};
  module::decide(again);
  if (!(again.life == after) || again.effects != 0) return "the decision stopped half way";
  return "";
}

// The rest of the world for one module.
class Sim {
 public:
  ModuleLife life;
  ModuleContext context{{MonoTime{1'000'000'000}, 0}, {}};

  // The world behind the machine.
  bool engine_up = true;
  enum class Presence { kAbsent, kCreated, kRunning, kExited } presence = Presence::kAbsent;
  std::uint64_t spec = 0;
  PendingWork work = PendingWork::kNone;  // in flight at the runtime
  std::int64_t timer = 0;                 // armed for
  std::int32_t exit_code = 0;
  bool inspect_asked = false;
  int starts_seen = 0, pulls_seen = 0, stops_seen = 0;
  std::vector<std::string> broken;
  ModuleStep last;
  std::string log;

  ModuleStep feed(const ModuleInput& input) {
    context.random = next_random();
    const ModuleLife before = life;
    RowTrace trace;
    last = module::step_traced(before, input, context, trace);
    const ModuleStep repeat = step(before, input, context);
    if (!(repeat.next == last.next) || repeat.effects != last.effects || repeat.verdict != last.verdict)
      broken.push_back("the same step twice is not the same");
    const std::string rule = broken_rule(before, input, context, last);
    if (!rule.empty()) broken.push_back(rule + " on " + std::string(last.trigger) + "\n" + log);
    life = last.next;
    note(before);
    obey(last.effects);
    return last;
  }
  void run_for(Duration duration) { context.now = context.now + duration; }
  bool fire_timer() {
    if (timer == 0) return false;
    context.now.ns = std::max(context.now.ns, timer);
    timer = 0;
    feed(ModuleTimerFired{});
    return true;
  }
  // The work in flight ends well.
  bool finish() {
    const PendingWork done = work;
    work = PendingWork::kNone;
    switch (done) {
      case PendingWork::kNone:
        return false;
      case PendingWork::kPull:
        feed(PullSucceeded{});
        return true;
      case PendingWork::kCreate:
        if (presence == Presence::kAbsent) presence = Presence::kCreated, spec = wanted_when_asked_;
        feed(CreateSucceeded{spec});
        return true;
      case PendingWork::kStart:
        if (presence == Presence::kAbsent) return feed(StartFailed{}), true;
        presence = Presence::kRunning;
        feed(StartSucceeded{});
        return true;
      case PendingWork::kStop:
        if (presence == Presence::kRunning) presence = Presence::kExited;
        feed(StopSucceeded{0, 15});
        return true;
      case PendingWork::kRemove:
        presence = Presence::kAbsent;
        feed(RemoveSucceeded{});
        return true;
    }
    return false;
  }
  bool fail() {
    const PendingWork done = work;
    work = PendingWork::kNone;
    switch (done) {
      case PendingWork::kNone:
        return false;
      case PendingWork::kPull:
        feed(PullFailed{});
        return true;
      case PendingWork::kCreate:
        feed(CreateFailed{});
        return true;
      case PendingWork::kStart:
        feed(StartFailed{});
        return true;
      case PendingWork::kStop:
        feed(StopFailed{});
        return true;
      case PendingWork::kRemove:
        feed(RemoveFailed{});
        return true;
    }
    return false;
  }
  void observe() {
    inspect_asked = false;
    if (!engine_up) return;
    switch (presence) {
      case Presence::kAbsent:
        feed(SeenAbsent{});
        break;
      case Presence::kCreated:
        feed(SeenCreated{spec});
        break;
      case Presence::kRunning:
        feed(SeenRunning{spec});
        break;
      case Presence::kExited:
        feed(SeenExited{spec, end_of(exit_code), exit_code, 0});
        break;
    }
  }
  void exit(std::int32_t code) {
    if (presence != Presence::kRunning) return;
    presence = Presence::kExited;
    exit_code = code;
    observe();
  }
  // Our own process or the engine goes: work in flight may or may not have happened.
  void lose_engine(bool work_was_done) {
    engine_up = false;
    const PendingWork was = work;
    if (was != PendingWork::kPull) work = PendingWork::kNone;
    if (work_was_done) {
      if (was == PendingWork::kCreate && presence == Presence::kAbsent)
        presence = Presence::kCreated, spec = wanted_when_asked_;
      if (was == PendingWork::kStart && presence != Presence::kAbsent) presence = Presence::kRunning;
      if (was == PendingWork::kStop && presence == Presence::kRunning)
        presence = Presence::kExited, exit_code = 0;
      if (was == PendingWork::kRemove) presence = Presence::kAbsent;
    }
    feed(EngineGone{});
  }
  void regain_engine() {
    engine_up = true;
    feed(EngineBack{});
    if (inspect_asked) observe();
  }
  void reboot() {
    if (work != PendingWork::kPull) work = PendingWork::kNone;
    timer = 0;
    if (presence == Presence::kRunning) presence = Presence::kExited, exit_code = 137;
    context.now.ns = 5'000'000'000;
    engine_up = true;
    feed(EngineGone{});
    feed(DeviceRebooted{});
    observe();
  }
  // Everything that can happen by itself does, all of it well, until nothing is left to happen.
  void settle(int rounds = 64) {
    if (!engine_up) regain_engine();
    for (int i = 0; i < rounds; ++i) {
      bool moved = finish();
      if (inspect_asked && work == PendingWork::kNone) observe(), moved = true;
      if (!life.may_start && life.target == ModuleTarget::kRunning)
        moved = feed(TurnGranted{}).verdict == Verdict::kTaken || moved;
      const bool sick = life.state == ModuleState::kUnhealthy ||
                        (life.state == ModuleState::kRunning && life.healthy_since_mono_ns == 0);
      if (sick) moved = feed(HealthPassed{}).verdict == Verdict::kTaken || moved;
      if (!moved) moved = fire_timer();
      if (!moved) return;
    }
  }
  ModuleState state() const { return life.state; }
  void seed(std::uint64_t seed) { random_ = seed; }

  static EndCause end_of(std::int32_t code) { return code == 0 ? EndCause::kClean : EndCause::kError; }

 private:
  std::uint64_t next_random() {
    random_ += 0x9E3779B97F4A7C15ull;
    std::uint64_t x = random_;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
  void note(const ModuleLife& before) {
    log += "  " + std::string(to_runtime_status(before.state)) + "(" + std::to_string(int(before.state)) +
           ") " + std::string(last.trigger) + " -> (" + std::to_string(int(life.state)) + ") verdict " +
           std::to_string(int(last.verdict)) + " effects " + effect_names(last.effects) + "\n";
    if (log.size() > 4000) log.erase(0, log.size() - 3000);
  }
  void obey(std::uint32_t effects) {
    if ((effects & kCancelPull) != 0) {
      if (work != PendingWork::kPull) broken.push_back("cancels a pull the runtime does not know\n" + log);
      work = PendingWork::kNone;
    }
    if ((effects & kWorkEffects) != 0) {
      if (work != PendingWork::kNone) broken.push_back("two works in flight\n" + log);
      if (!engine_up) broken.push_back("work asked of an engine that is away\n" + log);
      work = life.pending;
      wanted_when_asked_ = life.wanted_spec;
      starts_seen += (effects & kStart) != 0;
      pulls_seen += (effects & kPull) != 0;
      stops_seen += (effects & kStop) != 0;
    }
    if (life.pending != work) broken.push_back("machine and runtime differ about the work in flight\n" + log);
    if ((effects & kArmTimer) != 0) timer = life.deadline_mono_ns;
    if ((effects & kCancelTimer) != 0) timer = 0;
    if ((effects & kInspect) != 0) inspect_asked = true;
  }
  std::uint64_t random_ = 42;
  std::uint64_t wanted_when_asked_ = 0;
};

inline ModuleWanted wanted(ModuleTarget target, std::uint64_t spec = 1,
                           RestartPolicy policy = RestartPolicy::kAlways) {
  return {target, policy, spec, true, false};
}
inline ModuleWanted running(std::uint64_t spec = 1, RestartPolicy policy = RestartPolicy::kAlways) {
  return wanted(ModuleTarget::kRunning, spec, policy);
}

}  // namespace decklog::statemachines::sim
