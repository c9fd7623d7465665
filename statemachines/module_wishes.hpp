// Actions of ModuleLifecycle, second half: wishes, timers, engine and device, and what Decide asks for.
#pragma once

#include "statemachines/module_actions.hpp"

namespace decklog::statemachines::module {

// ---- actions: health and timers -----------------------------------------------------------------

struct recover {
  void operator()(const HealthPassed&, ModuleRun& run) const {
    run.reason = ModuleReason::kHealthPassed;
    run.life.healthy_since_mono_ns = std::max<std::int64_t>(run.context->now.ns, 1);
    disarm(run);
    arm_stable(run);
  }
};
struct first_healthy {
  void operator()(const HealthPassed&, ModuleRun& run) const {
    run.reason = ModuleReason::kHealthPassed;
    run.life.healthy_since_mono_ns = std::max<std::int64_t>(run.context->now.ns, 1);
    arm_stable(run);
  }
};
struct sicken {
  void operator()(const HealthFailed&, ModuleRun& run) const {
    ModuleLife& life = run.life;
    run.reason = ModuleReason::kHealthFailed;
    if (is_stable(life, *run.context)) reset_counters(life);
    life.healthy_since_mono_ns = 0;
    const Duration grace = run.context->restart.unhealthy_stop_grace;
    if (policy_ends_unhealthy{}(Decide{}, run)) {
      disarm(run);
      if (grace.count() > 0) arm_at(run, run.context->now.ns + grace.count());
    } else if (!is_stale(life)) {
      disarm(run);  // the timer towards stability; one that waits to pull an update goes on
    }
  }
};
struct try_again {
  void operator()(const ModuleTimerFired&, ModuleRun& run) const {
    run.reason =
        run.life.state == ModuleState::kFailed ? ModuleReason::kSlowProbe : ModuleReason::kBackoffElapsed;
    run.life.deadline_mono_ns = 0;
  }
};
struct try_refused_again {
  void operator()(const ModuleTimerFired&, ModuleRun& run) const {
    run.reason = ModuleReason::kSlowProbe;
    run.life.deadline_mono_ns = 0;
    run.life.refused_spec = 0;
  }
};
// The wait is over, but a pull is under way; what is pulled, or the old version, starts when it ends.
struct wait_for_pull {
  void operator()(const ModuleTimerFired&, ModuleRun& run) const {
    run.reason = ModuleReason::kBackoffElapsed;
    run.life.deadline_mono_ns = 0;
  }
};
// Running, Unhealthy: stable long enough, or time to try the update again. Stopping: time to ask again.
struct wake {
  void operator()(const ModuleTimerFired&, ModuleRun& run) const {
    ModuleLife& life = run.life;
    run.reason = ModuleReason::kBackoffElapsed;
    life.deadline_mono_ns = 0;
    if (is_stable(life, *run.context)) {
      run.reason = ModuleReason::kStableLongEnough;
      const std::uint32_t failures = is_stale(life) ? life.work_failures : 0;  // the update's are not over
      reset_counters(life);
      life.work_failures = failures;
    }
    if (is_stale(life)) life.refused_spec = 0;
    arm_stable(run);
  }
};

// ---- actions: wishes ----------------------------------------------------------------------------

inline bool in_service(const ModuleLife& life) {
  const bool up = life.state == ModuleState::kRunning || life.state == ModuleState::kUnhealthy ||
                  life.state == ModuleState::kStarting;
  return life.exists && should_run(life) && (up || life.last_end == EndCause::kShutdown);
}
inline ModuleReason reason_of(const ModuleWanted& wish, const ModuleLife& life) {
  if (wish.target != life.target) {
    if (wish.target == ModuleTarget::kAbsent) return ModuleReason::kDesiredAbsent;
    return wish.target == ModuleTarget::kRunning ? ModuleReason::kDesiredRunning
                                                 : ModuleReason::kDesiredStopped;
  }
  return changes_spec(wish, life) ? ModuleReason::kSpecChanged : ModuleReason::kSettingsChanged;
}
inline void want_spec(ModuleRun& run, const ModuleWanted& wish) {
  ModuleLife& life = run.life;
  const bool served = in_service(life);
  drop_pull(run);
  disarm(run);
  life.wanted_spec = wish.spec;
  fresh_chance(life);
  if (life.exists && life.current_spec == wish.spec) {  // back to what is there
    life.needs_pull = false;
    life.replacing = false;
  } else {
    life.needs_pull = wish.needs_pull;
    life.replacing = served;
  }
}
struct wish {
  void operator()(const ModuleWanted& wish, ModuleRun& run) const {
    ModuleLife& life = run.life;
    run.reason = reason_of(wish, life);
    if (changes_spec(wish, life)) want_spec(run, wish);
    const bool wakes = wish.target == ModuleTarget::kRunning && life.target != ModuleTarget::kRunning;
    if (wish.target != life.target) life.operator_hold = false;
    if (wakes) fresh_chance(life);
    if (wish.target == ModuleTarget::kAbsent) drop_pull(run);
    const bool at_rest = life.state != ModuleState::kRunning && life.state != ModuleState::kUnhealthy;
    if (at_rest && wish_matters{}(wish, run)) disarm(run);
    life.target = wish.target;
    life.policy = wish.policy;
    if (wish.has_probe != life.has_probe) {
      life.has_probe = wish.has_probe;
      if (!wish.has_probe && !at_rest && life.healthy_since_mono_ns == 0)
        life.healthy_since_mono_ns = std::max<std::int64_t>(run.context->now.ns, 1);
    }
  }
};
// Without a probe nothing can call it unhealthy.
struct wish_unprobed {
  void operator()(const ModuleWanted& wanted, ModuleRun& run) const {
    disarm(run);
    wish{}(wanted, run);
    arm_stable(run);
  }
};
struct grant_turn {
  void operator()(const TurnGranted&, ModuleRun& run) const {
    run.reason = ModuleReason::kTurnInOrder;
    run.life.may_start = true;
  }
};
struct revoke_turn {
  void operator()(const TurnRevoked&, ModuleRun& run) const {
    run.reason = ModuleReason::kTurnRevoked;
    run.life.may_start = false;
  }
};
struct restart_running {
  void operator()(const OperatorRestart&, ModuleRun& run) const {
    run.reason = ModuleReason::kOperatorRestart;
    drop_pull(run);
    disarm(run);
    fresh_chance(run.life);
    run.life.operator_hold = false;
    run.life.last_end = EndCause::kRequested;
    run.effects |= kReport;
  }
};
inline void start_over(ModuleRun& run, ModuleReason reason) {
  run.reason = reason;
  run.life.operator_hold = false;
  run.effects |= kReport;
  const bool up = run.life.state == ModuleState::kRunning || run.life.state == ModuleState::kUnhealthy;
  if (up) return;  // asked to start what runs
  disarm(run);
  fresh_chance(run.life);
}
struct restart_resting {
  void operator()(const OperatorRestart&, ModuleRun& run) const {
    start_over(run, ModuleReason::kOperatorRestart);
  }
};
struct release {
  void operator()(const OperatorStart&, ModuleRun& run) const {
    start_over(run, ModuleReason::kOperatorStart);
  }
};
struct hold {
  void operator()(const OperatorStop&, ModuleRun& run) const {
    run.reason = ModuleReason::kOperatorStop;
    run.life.operator_hold = true;
    run.effects |= kReport;
    const ModuleState state = run.life.state;
    if (state == ModuleState::kBackingOff || state == ModuleState::kFailed) disarm(run);
  }
};

// ---- actions: engine and device -----------------------------------------------------------------

struct lose_sight {
  void operator()(const EngineGone&, ModuleRun& run) const {
    run.reason = ModuleReason::kEngineGone;
    drop_pull(run);
    run.life.pending = PendingWork::kNone;
    run.life.blind = true;
  }
};
struct look_again {
  void operator()(const EngineBack&, ModuleRun& run) const {
    run.reason = ModuleReason::kEngineBack;
    run.effects |= kInspect;
  }
};
// Monotonic times of the boot before mean nothing; what there is has to be seen before anything is asked for.
struct reboot_waiting {
  void operator()(const DeviceRebooted&, ModuleRun& run) const {
    ModuleLife& life = run.life;
    run.reason = ModuleReason::kRebooted;
    life.pending = PendingWork::kNone;
    life.blind = true;
    life.may_start = false;
    life.healthy_since_mono_ns = 0;
    disarm(run);
    run.effects |= kInspect;
  }
};
// What ran ended with the device: no crash, nothing counted, nothing waited for, whatever the policy.
struct reboot_running {
  void operator()(const DeviceRebooted& rebooted, ModuleRun& run) const {
    reboot_waiting{}(rebooted, run);
    if (run.life.state != ModuleState::kStopping || run.life.last_end != EndCause::kRequested)
      run.life.last_end = EndCause::kShutdown;
  }
};
struct reboot_resting {
  void operator()(const DeviceRebooted& rebooted, ModuleRun& run) const {
    const bool waits = run.life.deadline_mono_ns != 0;
    reboot_waiting{}(rebooted, run);
    if (waits) arm_at(run, run.context->now.ns + run.life.backoff_wait_ns);  // the slow probe starts over
  }
};

// ---- actions: Decide ----------------------------------------------------------------------------

struct forget {
  void operator()(const Decide&, ModuleRun& run) const {
    ModuleLife& life = run.life;
    disarm(run);
    fresh_chance(life);
    life.wanted_spec = 0;
    life.needs_pull = false;
    life.replacing = false;
    life.healthy_since_mono_ns = 0;
  }
};
struct ask_remove {
  void operator()(const Decide&, ModuleRun& run) const { ask(run, PendingWork::kRemove, kRemove); }
};
// How the old version ended says nothing of the new one.
struct ask_replace {
  void operator()(const Decide&, ModuleRun& run) const {
    ask(run, PendingWork::kRemove, kRemove);
    run.life.replacing = true;
    run.life.last_end = EndCause::kNone;
  }
};
struct ask_create {
  void operator()(const Decide&, ModuleRun& run) const { ask(run, PendingWork::kCreate, kCreate); }
};
struct ask_pull {
  void operator()(const Decide&, ModuleRun& run) const { ask(run, PendingWork::kPull, kPull); }
};
struct ask_update {
  void operator()(const Decide&, ModuleRun& run) const {
    run.life.pending = PendingWork::kPull;
    run.life.replacing = true;
    run.effects |= kPull;
  }
};
struct keep_pulling {
  void operator()(const Decide&, ModuleRun& run) const { disarm(run); }
};
struct ask_stop {
  void operator()(const Decide&, ModuleRun& run) const {
    ask(run, PendingWork::kStop, kStop);
    run.life.last_end = EndCause::kRequested;
    run.life.healthy_since_mono_ns = 0;
  }
};
struct ask_stop_again {
  void operator()(const Decide&, ModuleRun& run) const {
    ask(run, PendingWork::kStop, kStop);
    run.life.healthy_since_mono_ns = 0;
  }
};
struct end_unhealthy {
  void operator()(const Decide&, ModuleRun& run) const {
    ask(run, PendingWork::kStop, kStop);
    run.life.last_end = EndCause::kUnhealthy;
    run.life.backoff_wait_ns = 0;
    run.life.healthy_since_mono_ns = 0;
  }
};
// restart_count counts the starts asked for after an end of the module's own, since the counters were last
// reset (stable long enough, new version, desired stopped and running again, operator).
struct ask_start {
  void operator()(const Decide&, ModuleRun& run) const {
    if (is_own_end(run.life.last_end)) ++run.life.restart_count;
    ask(run, PendingWork::kStart, kStart);
  }
};
struct wait_for_turn {
  void operator()(const Decide&, ModuleRun&) const {}
};
struct back_off {
  void operator()(const Decide&, ModuleRun& run) const {
    if (run.reason == ModuleReason::kExited) run.reason = ModuleReason::kPolicyRestart;
    arm_wait(run, backoff_step(run.context->restart, run.life.restart_count));
  }
};
struct fail_exhausted {
  void operator()(const Decide&, ModuleRun& run) const {
    run.reason = ModuleReason::kTriesExhausted;
    rest_after_failures(run);
  }
};
struct rest_failed {
  void operator()(const Decide&, ModuleRun& run) const {
    if (run.reason == ModuleReason::kExited) run.reason = ModuleReason::kPolicyRest;
  }
};
struct rest_lost {
  void operator()(const Decide&, ModuleRun& run) const {
    if (run.reason == ModuleReason::kVanished) run.reason = ModuleReason::kPolicyRest;
  }
};
struct rest_ended {
  void operator()(const Decide&, ModuleRun& run) const { run.reason = ModuleReason::kPolicyRest; }
};
struct rest_refused {
  void operator()(const Decide&, ModuleRun& run) const { arm_refused_probe(run); }
};

}  // namespace decklog::statemachines::module
