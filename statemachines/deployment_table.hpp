// The table of Deployment: guards, actions, rows.
#pragma once

#include <algorithm>

#include "statemachines/deployment_machine.hpp"
#include "statemachines/rows.hpp"

namespace decklog::statemachines::deployment {

struct Run {
  DeploymentLife life;
  const Context* context = nullptr;
  std::uint32_t effects = 0;
  DeploymentReason reason = DeploymentReason::kNone;
  RowTrace trace;
};

inline std::int64_t healthy_at(const DeploymentLife& life) {
  return life.healthy_since_mono_ns == 0
             ? 0
             : life.healthy_since_mono_ns + std::max<std::int64_t>(life.min_healthy_ns, 0);
}
inline std::int64_t mono_now(const Run& run) {
  return std::max<std::int64_t>(run.context->now.ns, 1);
}
// One timer for both ends: healthy long enough, or out of time.
inline void arm(Run& run) {
  const std::int64_t healthy = healthy_at(run.life), deadline = run.life.deadline_mono_ns;
  run.effects &= ~(std::uint32_t{kArmDeploymentTimer} | kCancelDeploymentTimer);
  run.effects |= healthy != 0 || deadline != 0 ? kArmDeploymentTimer : kCancelDeploymentTimer;
}
inline void restart_deadline(Run& run) {
  run.life.healthy_since_mono_ns = 0;
  run.life.deadline_mono_ns = run.life.deadline_ns > 0 ? run.context->now.ns + run.life.deadline_ns : 0;
  arm(run);
}
inline void stop_clock(Run& run) {
  run.life.deadline_mono_ns = 0;
  run.effects = (run.effects & ~std::uint32_t{kArmDeploymentTimer}) | kCancelDeploymentTimer;
}
inline void answer(Run& run, std::uint64_t version, std::int32_t code, std::string message) {
  run.life.last_version = version;
  run.life.last_code = code;
  run.life.last_message = std::move(message);
  run.effects |= kReportDeployment;
}

// ---- guards -------------------------------------------------------------------------------------

struct known_bad {
  bool operator()(const DocumentAccepted& document, const Run& run) const {
    return !run.life.bad_hash.empty() && document.hash == run.life.bad_hash;
  }
};
struct same_document {
  bool operator()(const DocumentAccepted& document, const Run& run) const {
    return document.hash == run.life.hash;
  }
};
struct says_nothing_new {
  bool operator()(const DocumentAccepted& document, const Run& run) const {
    return document.version == run.life.last_version &&
           (same_document{}(document, run) || known_bad{}(document, run)) && run.life.last_code != 400 &&
           run.life.last_code != 412 && run.life.last_code != 417;
  }
};
struct refused_anew {
  bool operator()(const DocumentRejected& rejected, const Run& run) const {
    return rejected.version != run.life.last_version || rejected.code != run.life.last_code ||
           rejected.message != run.life.last_message;
  }
};
struct healthy_enough {
  bool operator()(const Converged&, const Run& run) const {
    return run.life.min_healthy_ns <= 0 ||
           (run.life.healthy_since_mono_ns != 0 && run.context->now.ns >= healthy_at(run.life));
  }
  bool operator()(const DeploymentTimerFired&, const Run& run) const {
    return run.life.healthy_since_mono_ns != 0 && run.context->now.ns >= healthy_at(run.life);
  }
};
struct not_yet_healthy {
  template <class Input>
  bool operator()(const Input&, const Run& run) const {
    return run.life.healthy_since_mono_ns == 0;
  }
};
struct was_healthy {
  template <class Input>
  bool operator()(const Input&, const Run& run) const {
    return run.life.healthy_since_mono_ns != 0;
  }
};
struct out_of_time {
  bool operator()(const DeploymentTimerFired&, const Run& run) const {
    return run.life.deadline_mono_ns != 0 && run.context->now.ns >= run.life.deadline_mono_ns;
  }
};
struct may_roll_back {
  bool operator()(const DeploymentTimerFired&, const Run& run) const {
    return run.life.rollback_on_failure && !run.life.good_hash.empty() && run.life.good_hash != run.life.hash;
  }
};

// ---- actions ------------------------------------------------------------------------------------

struct take_up {
  void operator()(const DocumentAccepted& document, Run& run) const {
    DeploymentLife& life = run.life;
    run.reason = DeploymentReason::kAccepted;
    life.version = document.version;
    life.hash = document.hash;
    life.bad_hash.clear();
    life.rollback_on_failure = document.rollback_on_failure;
    life.min_healthy_ns = document.min_healthy_ns;
    life.deadline_ns = document.deadline_ns;
    answer(run, document.version, 200, {});
    run.effects |= kApplyDocument;
    restart_deadline(run);
  }
};
// The same content under a new version: nothing to apply; how it stands is answered again.
struct renumber {
  void operator()(const DocumentAccepted& document, Run& run) const {
    run.reason = DeploymentReason::kUnchanged;
    run.life.version = document.version;
    if (run.life.good_hash == document.hash) run.life.good_version = document.version;
    const bool failed = run.life.state == DeploymentState::kFailed;
    answer(run, document.version, failed ? 500 : 200, failed ? run.life.last_message : std::string());
  }
};
struct refuse_known {
  void operator()(const DocumentAccepted& document, Run& run) const {
    run.reason = DeploymentReason::kKnownBad;
    answer(run, document.version, 500,
           "this document failed before and was rolled back; it is not tried again until it changes");
  }
};
struct reject {
  void operator()(const DocumentRejected& rejected, Run& run) const {
    run.reason = DeploymentReason::kRejected;
    answer(run, rejected.version, rejected.code, rejected.message);
  }
};
struct count_healthy {
  void operator()(const Converged&, Run& run) const {
    run.reason = DeploymentReason::kConverged;
    run.life.healthy_since_mono_ns = mono_now(run);
    arm(run);
  }
};
struct heal {
  void operator()(const Converged&, Run& run) const {
    run.reason = DeploymentReason::kConverged;
    run.life.healthy_since_mono_ns = mono_now(run);
    run.effects |= kReportDeployment;
  }
};
struct succeed {
  template <class Input>
  void operator()(const Input&, Run& run) const {
    DeploymentLife& life = run.life;
    run.reason = DeploymentReason::kConverged;
    if (life.healthy_since_mono_ns == 0) life.healthy_since_mono_ns = mono_now(run);
    stop_clock(run);
    life.good_version = life.version;
    life.good_hash = life.hash;
    if (life.last_version == life.version) answer(run, life.version, 200, {});
    run.effects |= kKeepGoodDocument | kReportDeployment;
  }
};
struct lapse {
  void operator()(const Diverged&, Run& run) const {
    run.reason = DeploymentReason::kDiverged;
    run.life.healthy_since_mono_ns = 0;
    arm(run);
  }
};
struct sicken {
  void operator()(const Diverged&, Run& run) const {
    run.reason = DeploymentReason::kDiverged;
    run.life.healthy_since_mono_ns = 0;
    run.effects |= kReportDeployment;
  }
};
inline const char* too_late_text() {
  return "not every module was as wanted and healthy before the deadline";
}
struct roll_back {
  void operator()(const DeploymentTimerFired&, Run& run) const {
    DeploymentLife& life = run.life;
    run.reason = DeploymentReason::kRollbackStarted;
    stop_clock(run);
    if (life.last_version == life.version)
      answer(run, life.version, 500,
             std::string(too_late_text()) + "; the last good version " + std::to_string(life.good_version) +
                 " is applied again");
    life.bad_hash = life.hash;
    life.hash = life.good_hash;
    life.version = life.good_version;
    life.healthy_since_mono_ns = 0;
    run.effects |= kApplyGoodDocument | kReportDeployment;
  }
};
struct give_up {
  void operator()(const DeploymentTimerFired&, Run& run) const {
    DeploymentLife& life = run.life;
    const bool wished = life.rollback_on_failure;
    run.reason = wished ? DeploymentReason::kNoGoodVersion : DeploymentReason::kDeadline;
    stop_clock(run);
    if (life.last_version == life.version)
      answer(
          run, life.version, 500,
          std::string(too_late_text()) + (wished ? "; there is no earlier good version to go back to" : ""));
    run.effects |= kReportDeployment;
  }
};
struct finish_rollback {
  void operator()(const Converged&, Run& run) const {
    run.reason = DeploymentReason::kRollbackDone;
    run.life.healthy_since_mono_ns = mono_now(run);
    run.effects |= kReportDeployment;
  }
};
// Monotonic times of the boot before mean nothing: what is being applied gets its whole time again.
struct start_clock_over {
  void operator()(const DeploymentRebooted&, Run& run) const {
    run.reason = DeploymentReason::kRestored;
    restart_deadline(run);
  }
};
struct forget_times {
  void operator()(const DeploymentRebooted&, Run& run) const {
    run.reason = DeploymentReason::kRestored;
    run.life.healthy_since_mono_ns = 0;
  }
};

// ---- the table ----------------------------------------------------------------------------------

struct Nothing : State<DeploymentState::kNone> {};
struct Applying : State<DeploymentState::kApplying> {};
struct Applied : State<DeploymentState::kApplied> {};
struct Failed : State<DeploymentState::kFailed> {};
struct RollingBack : State<DeploymentState::kRollingBack> {};
struct RolledBack : State<DeploymentState::kRolledBack> {};

struct Table {
  using States = mp::mp_list<Nothing, Applying, Applied, Failed, RollingBack, RolledBack>;
  using Inputs = mp::mp_rename<DeploymentInput, mp::mp_list>;
  using Rows = mp::mp_append<
      OnEach<DocumentAccepted, None, refuse_known, And<known_bad, Not<says_nothing_new>>, RollingBack,
             RolledBack>,
      OnEach<DocumentAccepted, None, renumber, And<same_document, Not<says_nothing_new>>, Applying, Applied,
             Failed, RollingBack, RolledBack>,
      OnEach<DocumentAccepted, Applying, take_up, Not<Or<same_document, known_bad>>, Nothing, Applying,
             Applied, Failed, RollingBack, RolledBack>,
      mp::mp_list<OnAny<DocumentRejected, reject, refused_anew>>,

      OnEach<Converged, Applied, succeed, healthy_enough, Applying, Failed>,
      OnEach<Converged, None, count_healthy, not_yet_healthy, Applying, Failed>,
      mp::mp_list<On<RollingBack, Converged, RolledBack, finish_rollback>>,
      OnEach<Converged, None, heal, not_yet_healthy, Applied, RolledBack>,
      OnEach<Diverged, None, lapse, was_healthy, Applying, Failed>,
      OnEach<Diverged, None, sicken, was_healthy, Applied, RolledBack>,

      OnEach<DeploymentTimerFired, Applied, succeed, healthy_enough, Applying, Failed>,
      mp::mp_list<On<Applying, DeploymentTimerFired, RollingBack, roll_back, And<out_of_time, may_roll_back>>,
                  On<Applying, DeploymentTimerFired, Failed, give_up, out_of_time>>,

      OnEach<DeploymentRebooted, None, start_clock_over, Always, Applying>,
      OnEach<DeploymentRebooted, None, forget_times, was_healthy, Applied, Failed, RolledBack>>;
  using Refusals = mp::mp_list<Ignore<Converged, Nothing>, Ignore<Diverged, Nothing, RollingBack>,
                               Ignore<DeploymentTimerFired, Nothing, Applied, RollingBack, RolledBack>,
                               Ignore<DeploymentRebooted, Nothing, RollingBack>>;
  using Demands = mp::mp_list<>;
  static constexpr PairTable<Rows, Refusals, States, Inputs> kPairs{};
};
static_assert(Table::kPairs.whole(),
              "every (state, input) pair is a row, a listed ignore or a listed rejection");
static_assert(only_last_unguarded<Table::Rows>(), "an unguarded row hides those below it");
static_assert(all_reachable<Table::Rows, Table::States>(), "a state that no row leads to");
static_assert(all_stored<Table::States>(), "a state without a stored id of its own");

DeploymentStep step_traced(const DeploymentLife& life, const DeploymentInput& input, const Context& context,
                           RowTrace& trace);

}  // namespace decklog::statemachines::deployment
