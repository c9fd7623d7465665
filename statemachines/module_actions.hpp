// Actions of ModuleLifecycle, first half: what the runtime shows and how work ended. Actions change the life
// and ask for effects, nothing else.
#pragma once

#include "statemachines/module_guards.hpp"

namespace decklog::statemachines::module {

// ---- actions: what the runtime shows ------------------------------------------------------------

inline void look(ModuleRun& run, ModuleReason otherwise) {
  run.reason = run.life.blind ? ModuleReason::kAdopted : otherwise;
  regain_sight(run);
}
struct see {
  template <class Seen>
  void operator()(const Seen& seen, ModuleRun& run) const {
    constexpr bool runs = std::is_same_v<Seen, SeenRunning>;
    look(run, runs ? ModuleReason::kSeenRunning : ModuleReason::kExited);
    if (!runs && run.reason == ModuleReason::kExited) run.reason = ModuleReason::kSeenStopped;
    const bool was_stale = is_stale(run.life);
    note_exists(run, seen.spec);
    if (runs && !was_stale && is_stale(run.life)) disarm(run);  // the update waits for no timer
  }
};
struct see_resting {
  template <class Seen>
  void operator()(const Seen& seen, ModuleRun& run) const {
    see{}(seen, run);
    disarm(run);
  }
};
struct adopt {
  void operator()(const SeenRunning& seen, ModuleRun& run) const {
    look(run, ModuleReason::kSeenRunning);
    note_exists(run, seen.spec);
    if (is_stale(run.life)) run.life.replacing = should_run(run.life);
    note_running(run);
  }
};
struct see_end {
  void operator()(const SeenExited& seen, ModuleRun& run) const {
    regain_sight(run);
    run.reason = ModuleReason::kExited;
    note_end(run, seen.cause, seen.exit_code, seen.exit_signal);
    const bool replacing = run.life.replacing;
    note_exists(run, seen.spec);
    run.life.replacing = replacing && is_stale(run.life);
  }
};
struct see_stopped {
  template <class Seen>
  void operator()(const Seen& seen, ModuleRun& run) const {
    regain_sight(run);
    disarm(run);
    run.reason = ModuleReason::kStopDone;
    if constexpr (std::is_same_v<Seen, SeenExited>) {
      run.life.exit_code = seen.exit_code;
      run.life.exit_signal = seen.exit_signal;
    }
    note_exists(run, seen.spec);
  }
};
// It ran, and now one exists that never did: somebody replaced it.
struct see_replaced {
  void operator()(const SeenCreated& seen, ModuleRun& run) const {
    regain_sight(run);
    run.reason = ModuleReason::kVanished;
    note_end(run, EndCause::kLost, 0, 0);
    note_exists(run, seen.spec);
  }
};
struct see_vanished {
  void operator()(const SeenAbsent&, ModuleRun& run) const {
    regain_sight(run);
    run.reason = ModuleReason::kVanished;
    note_end(run, EndCause::kLost, 0, 0);
    note_gone(run.life);
  }
};
struct see_absent {
  void operator()(const SeenAbsent&, ModuleRun& run) const {
    regain_sight(run);
    run.reason = ModuleReason::kSeenAbsent;
    note_gone(run.life);
  }
};

struct see_gone {
  void operator()(const SeenAbsent& seen, ModuleRun& run) const {
    see_absent{}(seen, run);
    disarm(run);
  }
};

// ---- actions: how work ended --------------------------------------------------------------------

inline void work_over(ModuleRun& run, ModuleReason reason) {
  run.life.pending = PendingWork::kNone;
  run.reason = reason;
}
// Work of ours failed: the same arithmetic as for restarts, by the number of failures in a row.
inline void wait_after_failure(ModuleRun& run) {
  arm_wait(run, backoff_step(run.context->restart, run.life.work_failures - 1));
}
inline void rest_after_failures(ModuleRun& run) {
  const RestartSettings& settings = run.context->restart;
  if (settings.after_tries == RestartSettings::AfterTries::kGiveUp) {
    run.life.gave_up = true;
    run.reason = ModuleReason::kGaveUp;
    disarm(run);
  } else {
    arm_wait(run, slow_probe_step(settings));
  }
}
struct pull_done {
  void operator()(const PullSucceeded&, ModuleRun& run) const {
    work_over(run, ModuleReason::kPullDone);
    run.life.needs_pull = false;
    disarm(run);
    run.life.last_end = EndCause::kNone;  // of another version, or of one that is made anew
  }
};
struct pull_failed {
  void operator()(const PullFailed&, ModuleRun& run) const {
    work_over(run, ModuleReason::kPullFailed);
    ++run.life.work_failures;
  }
};
struct pull_failed_wait {
  void operator()(const PullFailed& failed, ModuleRun& run) const {
    pull_failed{}(failed, run);
    run.life.replacing = false;
    wait_after_failure(run);
  }
};
struct pull_failed_often {
  void operator()(const PullFailed& failed, ModuleRun& run) const {
    pull_failed{}(failed, run);
    run.reason = ModuleReason::kTriesExhausted;
    run.life.replacing = false;
    rest_after_failures(run);
  }
};
// The running version goes on; the pull is tried again.
struct update_failed {
  void operator()(const PullFailed& failed, ModuleRun& run) const {
    pull_failed{}(failed, run);
    const RestartSettings& settings = run.context->restart;
    if (run.life.work_failures < settings.max_tries) {
      if (run.life.deadline_mono_ns == 0) wait_after_failure(run);
    } else if (settings.after_tries == RestartSettings::AfterTries::kGiveUp) {
      run.life.refused_spec = run.life.wanted_spec;
      run.reason = ModuleReason::kGaveUp;
    } else if (run.life.deadline_mono_ns == 0) {
      arm_wait(run, slow_probe_step(settings));
    }
  }
};
struct refuse_image {
  void operator()(const DigestRejected&, ModuleRun& run) const {
    work_over(run, ModuleReason::kDigestMismatch);
    run.life.refused_spec = run.life.wanted_spec;
  }
};
struct refuse_image_wait {
  void operator()(const DigestRejected& rejected, ModuleRun& run) const {
    refuse_image{}(rejected, run);
    run.life.replacing = false;
    arm_refused_probe(run);
  }
};
struct refuse_update {
  void operator()(const DigestRejected& rejected, ModuleRun& run) const {
    refuse_image{}(rejected, run);
    arm_refused_probe(run);
  }
};
struct create_done {
  void operator()(const CreateSucceeded& done, ModuleRun& run) const {
    work_over(run, ModuleReason::kCreateDone);
    run.life.work_failures = 0;
    note_exists(run, done.spec);
  }
};
inline void create_over(const CreateFailed& failed, ModuleRun& run, ModuleReason reason) {
  work_over(run, reason);
  ++run.life.work_failures;
  run.life.needs_pull = run.life.needs_pull || failed.image_missing;
  run.effects |= kInspect;
}
struct create_failed_wait {
  void operator()(const CreateFailed& failed, ModuleRun& run) const {
    create_over(failed, run, ModuleReason::kCreateFailed);
    wait_after_failure(run);
  }
};
struct create_failed_often {
  void operator()(const CreateFailed& failed, ModuleRun& run) const {
    create_over(failed, run, ModuleReason::kTriesExhausted);
    rest_after_failures(run);
  }
};
struct start_done {
  void operator()(const StartSucceeded&, ModuleRun& run) const {
    work_over(run, ModuleReason::kStartDone);
    run.life.exists = true;
    run.effects |= kInspect;  // it may have ended before this answer came
    note_running(run);
  }
};
struct start_failed {
  void operator()(const StartFailed&, ModuleRun& run) const {
    work_over(run, ModuleReason::kStartFailed);
    run.effects |= kInspect;
    note_end(run, EndCause::kStartFailed, 0, 0);
  }
};
struct stop_done {
  void operator()(const StopSucceeded& done, ModuleRun& run) const {
    work_over(run, ModuleReason::kStopDone);
    run.life.exit_code = done.exit_code;
    run.life.exit_signal = done.exit_signal;
    run.life.healthy_since_mono_ns = 0;
  }
};
struct stop_failed {
  void operator()(const StopFailed&, ModuleRun& run) const {
    work_over(run, ModuleReason::kStopFailed);
    ++run.life.work_failures;
    run.effects |= kInspect;
    const std::int64_t owed = run.life.backoff_wait_ns;
    wait_after_failure(run);
    run.life.backoff_wait_ns = owed;  // that of an end still to come
  }
};
struct remove_done {
  void operator()(const RemoveSucceeded&, ModuleRun& run) const {
    work_over(run, ModuleReason::kRemoveDone);
    note_gone(run.life);
  }
};
struct remove_failed {
  void operator()(const RemoveFailed&, ModuleRun& run) const {
    work_over(run, ModuleReason::kRemoveFailed);
    ++run.life.work_failures;
    run.effects |= kInspect;
    wait_after_failure(run);
  }
};

}  // namespace decklog::statemachines::module
