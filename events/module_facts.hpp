// Facts of one module's life. Enum numbers are stored for ever: append only.
// Every fact lists its fields once, with the FlatBuffers field id; codec, JSON export and the replay's
// field-by-field comparison all walk that list, and a test holds it to event.fbs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"

namespace decklog {

// The five states people see (reported runtimeStatus) and the finer ones truth needs. See
// to_runtime_status().
enum class ModuleState : std::uint8_t {
  kStopped = 1,      // at rest: not started yet, stopped on request, or ended and policy lets it rest
  kDownloading = 2,  // image being pulled (or command being checked)
  kCreating = 3,
  kCreated = 4,  // made, waits for its turn in the startup order
  kStarting = 5,
  kRunning = 6,
  kUnhealthy = 7,  // runs, but its health probe fails past the threshold
  kStopping = 8,
  kBackingOff = 9,      // ended; will be started again when the back-off timer fires
  kFailed = 10,         // ended badly and rests; a slow probe may still try again
  kImageRejected = 11,  // digest does not match what the deployment demands
  kLost = 12,           // the engine no longer knows it, though it should
  kRemoving = 13,
  kRemoved = 14,  // gone; the record may be forgotten
};

enum class ModuleTarget : std::uint8_t { kRunning = 1, kStopped = 2, kAbsent = 3 };
enum class RestartPolicy : std::uint8_t { kNever = 1, kOnFailure = 2, kOnUnhealthy = 3, kAlways = 4 };

// How a run ended.
enum class EndCause : std::uint8_t {
  kNone = 0,   // never ended
  kClean = 1,  // exit code 0
  kError = 2,  // exit code not 0
  kSignal = 3,
  kOutOfMemory = 4,
  kUnhealthy = 5,    // we ended it because its probe failed
  kRequested = 6,    // we stopped it: desired state, update or operator
  kShutdown = 7,     // ended with the device's own shutdown or reboot: not a crash
  kLost = 8,         // vanished, or its status is not known
  kStartFailed = 9,  // the engine could not start it
};

// Work in flight at the runtime for one module; at most one.
enum class PendingWork : std::uint8_t {
  kNone = 0,
  kPull = 1,
  kCreate = 2,
  kStart = 3,
  kStop = 4,
  kRemove = 5
};

// Why a step was taken; with the numbers in ModuleLife this is the whole explanation (see reason_text()).
enum class ModuleReason : std::uint8_t {
  kNone = 0,
  kDesiredRunning = 1,
  kDesiredStopped = 2,
  kDesiredAbsent = 3,
  kSpecChanged = 4,
  kSettingsChanged = 5,  // policy, order, probes: no re-creation
  kPullDone = 6,
  kPullFailed = 7,
  kDigestMismatch = 8,
  kCreateDone = 9,
  kCreateFailed = 10,
  kTurnInOrder = 11,  // startup order reached this module
  kStartDone = 12,
  kStartFailed = 13,
  kSeenRunning = 14,
  kExited = 15,
  kStopDone = 16,
  kStopFailed = 17,
  kRemoveDone = 18,
  kRemoveFailed = 19,
  kHealthPassed = 20,
  kHealthFailed = 21,
  kPolicyRestart = 22,  // ended; policy wants it back; back-off armed
  kPolicyRest = 23,     // ended; policy lets it rest
  kBackoffElapsed = 24,
  kTriesExhausted = 25,  // back-off tries used up: Failed, slow probe armed
  kSlowProbe = 26,
  kGaveUp = 27,            // settings say to give up for good
  kStableLongEnough = 28,  // ran healthy long enough: counters reset
  kOperatorRestart = 29,
  kOperatorStop = 30,
  kVanished = 31,
  kEngineGone = 32,
  kEngineBack = 33,
  kRebooted = 34,  // the device restarted since
  kAdopted = 35,   // found running after our own restart
  kOperatorStart = 36,
  kSeenAbsent = 37,
  kSeenStopped = 38,  // found there and not running, in a state that did not expect it to run
  kTurnRevoked = 39,
};

// The machine's whole state for one module: a small value without pointers (at most 112 bytes).
// Times are monotonic nanoseconds of the boot named in the envelope; 0 = none.
struct ModuleLife final {
  ModuleState state = ModuleState::kStopped;
  ModuleTarget target = ModuleTarget::kStopped;
  RestartPolicy policy = RestartPolicy::kAlways;
  PendingWork pending = PendingWork::kNone;
  EndCause last_end = EndCause::kNone;
  bool needs_pull = false;     // the wanted spec's image has not been pulled yet
  bool replacing = false;      // an update is under way: stop, remove, create, start follow each other
  bool may_start = false;      // startup order lets it start
  bool exists = false;         // the runtime has it (created or further)
  bool has_probe = false;      // health decides what counts as started
  bool operator_hold = false;  // an operator stopped it; only an operator or a new desired status starts it
  bool gave_up = false;
  bool blind = false;  // what the runtime has is not known now: engine gone, or our process restarted
  std::int32_t exit_code = 0;
  std::int32_t exit_signal = 0;
  std::uint32_t restart_count = 0;         // restarts since the counters were last reset
  std::uint32_t work_failures = 0;         // pull, create, start failures in a row
  std::uint64_t wanted_spec = 0;           // first 8 bytes of the wanted spec hash
  std::uint64_t current_spec = 0;          // of what exists at the runtime; 0 = nothing
  std::int64_t backoff_step_ns = 0;        // undrawn step, 10 s doubled up to 300 s
  std::int64_t backoff_wait_ns = 0;        // what was drawn, half to whole of the step
  std::int64_t deadline_mono_ns = 0;       // when the armed timer fires
  std::int64_t healthy_since_mono_ns = 0;  // since when it runs (healthy, when it has a probe)
  std::uint64_t refused_spec = 0;  // spec whose image was refused (digest, or tries given up); 0 = none

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "state", self.state);
    visit(1, "target", self.target);
    visit(2, "policy", self.policy);
    visit(3, "pending", self.pending);
    visit(4, "last_end", self.last_end);
    visit(5, "needs_pull", self.needs_pull);
    visit(6, "replacing", self.replacing);
    visit(7, "may_start", self.may_start);
    visit(8, "exists", self.exists);
    visit(9, "has_probe", self.has_probe);
    visit(10, "operator_hold", self.operator_hold);
    visit(11, "gave_up", self.gave_up);
    visit(12, "exit_code", self.exit_code);
    visit(13, "exit_signal", self.exit_signal);
    visit(14, "restart_count", self.restart_count);
    visit(15, "work_failures", self.work_failures);
    visit(16, "wanted_spec", self.wanted_spec);
    visit(17, "current_spec", self.current_spec);
    visit(18, "backoff_step_ns", self.backoff_step_ns);
    visit(19, "backoff_wait_ns", self.backoff_wait_ns);
    visit(20, "deadline_mono_ns", self.deadline_mono_ns);
    visit(21, "healthy_since_mono_ns", self.healthy_since_mono_ns);
    visit(22, "blind", self.blind);
    visit(23, "refused_spec", self.refused_spec);
  }
  friend bool operator==(const ModuleLife&, const ModuleLife&) = default;
};

// ---- inputs
// ----------------------------------------------------------------------------------------------------

// What the runtime said of one module. presence, health: numbers of runtime::Presence and runtime::Health.
struct ModuleObserved final {
  ModuleName module;
  std::uint8_t presence = 0;
  std::uint8_t health = 0;
  std::string runtime_id;
  std::string spec_hash;
  std::string image_id;
  std::int32_t exit_code = 0;
  std::int32_t exit_signal = 0;
  bool oom_killed = false;
  std::int64_t started_at_ns = 0;   // wall
  std::int64_t finished_at_ns = 0;  // wall
  std::string boot;                 // boot it ran in, when known
  std::uint8_t runtime = 0;         // runtime::RuntimeKind that says so

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "module", self.module);
    visit(1, "presence", self.presence);
    visit(2, "health", self.health);
    visit(3, "runtime_id", self.runtime_id);
    visit(4, "spec_hash", self.spec_hash);
    visit(5, "image_id", self.image_id);
    visit(6, "exit_code", self.exit_code);
    visit(7, "exit_signal", self.exit_signal);
    visit(8, "oom_killed", self.oom_killed);
    visit(9, "started_at_ns", self.started_at_ns);
    visit(10, "finished_at_ns", self.finished_at_ns);
    visit(11, "boot", self.boot);
    visit(12, "runtime", self.runtime);
  }
  friend bool operator==(const ModuleObserved&, const ModuleObserved&) = default;
};

// A whole listing of one runtime: our modules that it does not name are absent there.
struct ModulesListed final {
  std::uint8_t runtime = 0;  // runtime::RuntimeKind
  std::vector<std::string> modules;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "runtime", self.runtime);
    visit(1, "modules", self.modules);
  }
  friend bool operator==(const ModulesListed&, const ModulesListed&) = default;
};

struct EngineObserved final {
  std::uint8_t runtime = 0;
  bool available = false;
  std::string detail;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "runtime", self.runtime);
    visit(1, "available", self.available);
    visit(2, "detail", self.detail);
  }
  friend bool operator==(const EngineObserved&, const EngineObserved&) = default;
};

// Work asked for by decision `asked_by` ended.
struct WorkFinished final {
  ModuleName module;
  PendingWork work = PendingWork::kNone;
  std::uint64_t asked_by = 0;  // sequence of the decision
  std::uint16_t code = 0;      // Errc; 0 = success
  std::string message;
  std::string detail;  // pull: repository digest; create, start: spec hash of what exists now
  std::uint64_t bytes = 0;
  std::int64_t took_ns = 0;
  std::int32_t exit_code = 0;  // stop: how the run ended
  std::int32_t exit_signal = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "module", self.module);
    visit(1, "work", self.work);
    visit(2, "asked_by", self.asked_by);
    visit(3, "code", self.code);
    visit(4, "message", self.message);
    visit(5, "detail", self.detail);
    visit(6, "bytes", self.bytes);
    visit(7, "took_ns", self.took_ns);
    visit(8, "exit_code", self.exit_code);
    visit(9, "exit_signal", self.exit_signal);
  }
  friend bool operator==(const WorkFinished&, const WorkFinished&) = default;
};

struct PullProgressed final {
  ModuleName module;
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
  std::string phase;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "module", self.module);
    visit(1, "bytes_done", self.bytes_done);
    visit(2, "bytes_total", self.bytes_total);
    visit(3, "phase", self.phase);
  }
  friend bool operator==(const PullProgressed&, const PullProgressed&) = default;
};

// One health probe run.
struct ProbeFinished final {
  ModuleName module;
  std::string probe;  // "startup", "liveness"
  bool passed = false;
  std::string detail;
  std::int64_t took_ns = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "module", self.module);
    visit(1, "probe", self.probe);
    visit(2, "passed", self.passed);
    visit(3, "detail", self.detail);
    visit(4, "took_ns", self.took_ns);
  }
  friend bool operator==(const ProbeFinished&, const ProbeFinished&) = default;
};

// ---- decisions
// -------------------------------------------------------------------------------------------------

struct ModuleTransitioned final {
  ModuleName module;
  ModuleState from = ModuleState::kStopped;
  ModuleState to = ModuleState::kStopped;
  std::string trigger;  // the machine's input, e.g. "ModuleExited"
  ModuleReason reason = ModuleReason::kNone;
  std::uint32_t effects = 0;  // statemachines::ModuleEffect bits asked for
  ModuleLife life;            // the state after the step; recovery folds this

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "module", self.module);
    visit(1, "from", self.from);
    visit(2, "to", self.to);
    visit(3, "trigger", self.trigger);
    visit(4, "reason", self.reason);
    visit(5, "effects", self.effects);
    visit(6, "life", self.life);
  }
  friend bool operator==(const ModuleTransitioned&, const ModuleTransitioned&) = default;
};

}  // namespace decklog
