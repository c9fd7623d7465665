// ModuleLifecycle: one module from "wanted" to "removed". The table is in module_table.hpp, its diagram in
// README.md.
//
// The planner says what is wanted and when a module's turn has come (ModuleWanted, TurnGranted, TurnRevoked);
// the runtime says what is (ModuleSeen..., WorkSucceeded/Failed, ...); the machine decides what to ask of the
// runtime next. At most one piece of work is in flight per module (ModuleLife::pending), except that a pull
// may be cancelled. Pull before stop: a running module whose spec changed keeps running while the new image
// is pulled; then it is stopped, removed, created and started (ModuleLife::replacing).
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "events/module_facts.hpp"
#include "statemachines/step.hpp"

namespace decklog::statemachines {

// Effects, as bits of Step::effects. Parameters (deadline, spec) are in the life beside them.
enum ModuleEffect : std::uint32_t {
  kPull = 1u << 0,
  kCancelPull = 1u << 1,
  kCreate = 1u << 2,
  kStart = 1u << 3,
  kStop = 1u << 4,
  kRemove = 1u << 5,
  kArmTimer = 1u << 6,  // timer "module/<name>" at life.deadline_mono_ns
  kCancelTimer = 1u << 7,
  kInspect = 1u << 8,  // ask the runtime what is true now
  kReport = 1u << 9,   // what people see changed
};

// How restarts are spaced. Every value can be set per module in the deployment.
struct RestartSettings {
  Duration backoff_first = std::chrono::seconds(10);
  Duration backoff_cap = std::chrono::seconds(300);
  Duration stable_after = std::chrono::minutes(10);  // healthy that long: counters reset
  std::uint32_t max_tries = 20;                      // then Failed with a slow probe
  Duration slow_probe_every = std::chrono::minutes(30);
  enum class AfterTries : std::uint8_t { kSlowProbe = 1, kGiveUp = 2 } after_tries = AfterTries::kSlowProbe;
  Duration unhealthy_stop_grace = std::chrono::seconds(0);  // Unhealthy that long before policy ends the run
  friend bool operator==(const RestartSettings&, const RestartSettings&) = default;
};

struct ModuleContext : Context {
  RestartSettings restart;
};

// ---- inputs -------------------------------------------------------------------------------------

// The deployment's word on this module. Sent whenever any of it changes, and for a module no longer wanted
// (target kAbsent). spec = first 8 bytes of the spec hash.
struct ModuleWanted final {
  ModuleTarget target = ModuleTarget::kRunning;
  RestartPolicy policy = RestartPolicy::kAlways;
  std::uint64_t spec = 0;
  bool needs_pull = true;  // pull policy on-create (or a command to check)
  bool has_probe = false;
};
struct TurnGranted final {};  // all modules earlier in startupOrder run (are healthy, when they have a probe)
struct TurnRevoked final {};  // not its turn (any more): only holds back a start not yet asked for

struct PullSucceeded final {};
struct PullFailed final {};
struct DigestRejected final {};  // what was pulled is not what the deployment demands
struct CreateSucceeded final {
  std::uint64_t spec = 0;
};
struct CreateFailed final {
  bool image_missing = false;  // the image is not there (any more): pull it before the next try
};
struct StartSucceeded final {};
struct StartFailed final {};
struct StopSucceeded final {
  std::int32_t exit_code = 0;
  std::int32_t exit_signal = 0;
};
struct StopFailed final {};
struct RemoveSucceeded final {};
struct RemoveFailed final {};

// Observations of the runtime. spec = what exists there carries this spec (0 = not ours).
struct SeenCreated final {
  std::uint64_t spec = 0;
};
struct SeenRunning final {
  std::uint64_t spec = 0;
};
struct SeenExited final {
  std::uint64_t spec = 0;
  EndCause cause = EndCause::kClean;  // kClean, kError, kSignal, kOutOfMemory, kShutdown or kLost
  std::int32_t exit_code = 0;
  std::int32_t exit_signal = 0;
};
struct SeenAbsent final {};  // a whole listing does not name it

struct HealthPassed final {};  // past the success threshold
struct HealthFailed final {};  // past the failure threshold

struct ModuleTimerFired final {};  // the timer armed by kArmTimer; late ones are rows, not races

struct OperatorRestart final {};
struct OperatorStop final {};
struct OperatorStart final {};

struct EngineGone final {};
struct EngineBack final {};
// The device rebooted since the events before: monotonic deadlines are void, what ran then ended with the
// device.
struct DeviceRebooted final {};

using ModuleInput =
    std::variant<ModuleWanted, TurnGranted, TurnRevoked, PullSucceeded, PullFailed, DigestRejected,
                 CreateSucceeded, CreateFailed, StartSucceeded, StartFailed, StopSucceeded, StopFailed,
                 RemoveSucceeded, RemoveFailed, SeenCreated, SeenRunning, SeenExited, SeenAbsent,
                 HealthPassed, HealthFailed, ModuleTimerFired, OperatorRestart, OperatorStop, OperatorStart,
                 EngineGone, EngineBack, DeviceRebooted>;

struct ModuleStep : Step<ModuleLife> {
  ModuleReason reason = ModuleReason::kNone;
};

ModuleStep step(const ModuleLife& life, const ModuleInput& input, const ModuleContext& context);

// ---- words --------------------------------------------------------------------------------------

// Total over (policy x how it ended): whether the policy wants the module back.
bool policy_restarts(RestartPolicy policy, EndCause cause);

// "running", "backoff", "unhealthy", "stopped", "failed", "downloading", "unknown": the reported
// runtimeStatus.
const char* to_runtime_status(ModuleState state);
// The finer state in words for statusDescription: "restart 3 of 20 in 37s (step 40s) after exit code 1".
std::string status_description(const ModuleLife& life, MonoTime now);
std::string status_description(const ModuleLife& life, MonoTime now, std::uint32_t max_tries);
// One sentence for `why` and `history`: the reason with its numbers.
std::string reason_text(ModuleReason reason, const ModuleLife& life);
std::string effect_names(std::uint32_t effects);  // "pull, arm-timer"
// The transition table as a Mermaid state diagram.
std::string module_diagram();
// Markdown table of the (state, input) pairs that no row takes.
std::string module_refusals();

}  // namespace decklog::statemachines
