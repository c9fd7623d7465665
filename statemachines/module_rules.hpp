// The arithmetic and the questions ModuleLifecycle's rows are made of: pure functions of one module's life.
// No MSM. Which state follows is the table's business (module_table.hpp); here is only what the words in it
// mean.
#pragma once

#include <algorithm>
#include <cstdint>

#include "statemachines/module_machine.hpp"
#include "statemachines/rows.hpp"

namespace decklog::statemachines {

// However the settings are, nothing is retried with a shorter step than this.
inline constexpr Duration kBackoffStepMin = std::chrono::milliseconds(100);

// What one step works on.
struct ModuleRun {
  ModuleLife life;
  const ModuleContext* context = nullptr;
  std::uint32_t effects = 0;
  ModuleReason reason = ModuleReason::kNone;
  RowTrace trace;
};

// ---- questions ----------------------------------------------------------------------------------

// Ended by itself (or by its probe), as opposed to by us or by the device.
constexpr bool is_bad_end(EndCause cause) {
  switch (cause) {
    case EndCause::kError:
    case EndCause::kSignal:
    case EndCause::kOutOfMemory:
    case EndCause::kUnhealthy:
    case EndCause::kLost:
    case EndCause::kStartFailed:
      return true;
    case EndCause::kNone:
    case EndCause::kClean:
    case EndCause::kRequested:
    case EndCause::kShutdown:
      return false;
  }
  return false;
}
constexpr bool is_own_end(EndCause cause) {
  return cause == EndCause::kClean || is_bad_end(cause);
}

// The deployment (and no operator) wants it to run; whether its policy does is another question.
inline bool should_run(const ModuleLife& life) {
  return life.target == ModuleTarget::kRunning && !life.operator_hold;
}
inline bool wants_run(const ModuleLife& life) {
  return should_run(life) && !life.gave_up && policy_restarts(life.policy, life.last_end);
}
// What exists is not what is wanted.
inline bool is_stale(const ModuleLife& life) {
  return life.exists && life.current_spec != life.wanted_spec;
}
// The wanted image cannot be had: wrong digest, or its tries are used up for good.
inline bool is_refused(const ModuleLife& life) {
  return life.wanted_spec != 0 && life.refused_spec == life.wanted_spec;
}
inline bool is_pulling(const ModuleLife& life) {
  return life.pending == PendingWork::kPull;
}
inline bool is_idle(const ModuleLife& life) {
  return life.pending == PendingWork::kNone;
}
// The previous version is to run until the new one can.
inline bool old_serves(const ModuleLife& life) {
  return is_stale(life) && life.replacing;
}
inline bool is_exhausted(const ModuleLife& life, const RestartSettings& settings) {
  return life.restart_count >= settings.max_tries;
}
// It ended by itself and has not waited for that yet. A drawn wait means that the back-off was entered for
// this end.
inline bool owes_wait(const ModuleLife& life) {
  return is_own_end(life.last_end) && life.backoff_wait_ns == 0;
}
// The old version is started rather than the new one pulled while nothing runs.
inline bool starts_old(const ModuleLife& life, const RestartSettings& settings) {
  return old_serves(life) && wants_run(life) && !is_exhausted(life, settings);
}
inline bool is_stable(const ModuleLife& life, const ModuleContext& context) {
  return life.healthy_since_mono_ns != 0 &&
         context.now.ns - life.healthy_since_mono_ns >= context.restart.stable_after.count();
}
inline bool has_counters(const ModuleLife& life) {
  return life.restart_count != 0 || life.work_failures != 0 || life.backoff_step_ns != 0 ||
         life.backoff_wait_ns != 0;
}

// ---- arithmetic ---------------------------------------------------------------------------------

// first * 2^n, capped. n is the number of tries already made.
inline std::int64_t backoff_step(const RestartSettings& settings, std::uint32_t tries) {
  const std::int64_t first = std::max(settings.backoff_first, kBackoffStepMin).count();
  const std::int64_t cap = std::max<std::int64_t>(settings.backoff_cap.count(), first);
  std::int64_t step = first;
  for (std::uint32_t n = 0; n < tries && step < cap; ++n) step = step > cap / 2 ? cap : step * 2;
  return std::min(step, cap);
}

inline void disarm(ModuleRun& run) {
  if (run.life.deadline_mono_ns == 0) return;
  run.life.deadline_mono_ns = 0;
  run.effects = (run.effects & ~std::uint32_t{kArmTimer}) | kCancelTimer;
}
inline void arm_at(ModuleRun& run, std::int64_t mono_ns) {
  run.life.deadline_mono_ns = std::max<std::int64_t>(mono_ns, 1);
  run.effects = (run.effects & ~std::uint32_t{kCancelTimer}) | kArmTimer;
}
// Draws the wait between half and whole of the step and arms the timer for it.
inline void arm_wait(ModuleRun& run, std::int64_t step_ns) {
  ModuleLife& life = run.life;
  life.backoff_step_ns = step_ns;
  life.backoff_wait_ns = draw_between(run.context->random, step_ns / 2, step_ns);
  arm_at(run, run.context->now.ns + life.backoff_wait_ns);
}
inline std::int64_t slow_probe_step(const RestartSettings& settings) {
  return std::max(settings.slow_probe_every, kBackoffStepMin).count();
}
// Runs again after an end of its own: counters go back to zero once it has been healthy long enough. Not
// while an update is wanted, which may wait for no timer but its own.
inline void arm_stable(ModuleRun& run) {
  const ModuleLife& life = run.life;
  if (!is_stale(life) && has_counters(life) && life.healthy_since_mono_ns != 0 && life.deadline_mono_ns == 0)
    arm_at(run, life.healthy_since_mono_ns + run.context->restart.stable_after.count());
}

// A refused image may be put right where it comes from: it is looked at again, slowly, unless settings say to
// give up.
inline void arm_refused_probe(ModuleRun& run) {
  const RestartSettings& settings = run.context->restart;
  if (run.life.deadline_mono_ns != 0 || settings.after_tries == RestartSettings::AfterTries::kGiveUp) return;
  arm_wait(run, slow_probe_step(settings));
}

inline void reset_counters(ModuleLife& life) {
  life.restart_count = 0;
  life.work_failures = 0;
  life.backoff_step_ns = 0;
  life.backoff_wait_ns = 0;
  life.gave_up = false;
}
// A person or the deployment wants it anew: the past does not count.
inline void fresh_chance(ModuleLife& life) {
  reset_counters(life);
  life.refused_spec = 0;
  life.last_end = EndCause::kNone;
}

inline void drop_pull(ModuleRun& run) {
  if (!is_pulling(run.life)) return;
  run.life.pending = PendingWork::kNone;
  run.effects |= kCancelPull;
}
inline void ask(ModuleRun& run, PendingWork work, std::uint32_t effect) {
  drop_pull(run);
  disarm(run);
  run.life.pending = work;
  run.effects |= effect;
}
// The runtime is in sight again; a timer that fired meanwhile was held and is armed again.
inline void regain_sight(ModuleRun& run) {
  if (!run.life.blind) return;
  run.life.blind = false;
  if (run.life.deadline_mono_ns != 0) run.effects |= kArmTimer;
}
inline void note_exists(ModuleRun& run, std::uint64_t spec) {
  ModuleLife& life = run.life;
  life.exists = true;
  life.current_spec = spec;
  if (life.wanted_spec == 0 || spec != life.wanted_spec) return;
  drop_pull(run);
  life.needs_pull = false;
  life.replacing = false;
}
inline void note_gone(ModuleLife& life) {
  life.exists = false;
  life.current_spec = 0;
  life.replacing = false;
}
inline void note_running(ModuleRun& run) {
  disarm(run);
  run.life.healthy_since_mono_ns = run.life.has_probe ? 0 : std::max<std::int64_t>(run.context->now.ns, 1);
  arm_stable(run);
  if (is_stale(run.life) && is_refused(run.life)) arm_refused_probe(run);
}
// An end. Having been stable first is judged here too, so that a late timer changes nothing.
inline void note_end(ModuleRun& run, EndCause cause, std::int32_t exit_code, std::int32_t exit_signal) {
  ModuleLife& life = run.life;
  if (is_stable(life, *run.context)) reset_counters(life);
  life.last_end = cause == EndCause::kNone ? EndCause::kLost : cause;
  life.exit_code = exit_code;
  life.exit_signal = exit_signal;
  life.healthy_since_mono_ns = 0;
  life.backoff_wait_ns = 0;
  disarm(run);
}

}  // namespace decklog::statemachines
