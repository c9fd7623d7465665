// ModuleLifecycle in words: for reports, `why`, `history` and the drawn table.
#include <array>
#include <string>

#include "statemachines/module_table.hpp"

namespace decklog::statemachines {

bool policy_restarts(RestartPolicy policy, EndCause cause) {
  switch (cause) {
    // No end of the module's own: whether it runs is up to the deployment, under every policy.
    case EndCause::kNone:
    case EndCause::kRequested:
    case EndCause::kShutdown:
      return true;
    case EndCause::kClean:
      return policy == RestartPolicy::kAlways;
    case EndCause::kUnhealthy:
      return policy == RestartPolicy::kAlways || policy == RestartPolicy::kOnUnhealthy;
    // An end nobody saw is taken for a crash.
    case EndCause::kError:
    case EndCause::kSignal:
    case EndCause::kOutOfMemory:
    case EndCause::kLost:
    case EndCause::kStartFailed:
      return policy != RestartPolicy::kNever;
  }
  return false;
}

const char* to_runtime_status(ModuleState state) {
  switch (state) {
    case ModuleState::kStopped:
    case ModuleState::kCreating:
    case ModuleState::kCreated:
    case ModuleState::kRemoving:
    case ModuleState::kRemoved:
      return "stopped";
    case ModuleState::kDownloading:
      return "downloading";
    case ModuleState::kStarting:
    case ModuleState::kRunning:
    case ModuleState::kStopping:
      return "running";
    case ModuleState::kUnhealthy:
      return "unhealthy";
    case ModuleState::kBackingOff:
      return "backoff";
    case ModuleState::kFailed:
    case ModuleState::kImageRejected:
      return "failed";
    case ModuleState::kLost:
      return "unknown";
  }
  return "unknown";
}

namespace {

std::string end_text(const ModuleLife& life) {
  switch (life.last_end) {
    case EndCause::kNone:
      return "no end";
    case EndCause::kClean:
      return "a clean exit";
    case EndCause::kError:
      return "exit code " + std::to_string(life.exit_code);
    case EndCause::kSignal:
      return life.exit_signal != 0 ? "signal " + std::to_string(life.exit_signal)
                                   : "a signal (exit code " + std::to_string(life.exit_code) + ")";
    case EndCause::kOutOfMemory:
      return "running out of memory";
    case EndCause::kUnhealthy:
      return "failing its health probe";
    case EndCause::kRequested:
      return "a stop on request";
    case EndCause::kShutdown:
      return "the device's shutdown";
    case EndCause::kLost:
      return "vanishing";
    case EndCause::kStartFailed:
      return "a failed start";
  }
  return "an unknown end";
}

// Whole seconds are enough for people, and make equal reports equal.
std::string whole_seconds(std::int64_t ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  if (ns <= 0) return "0s";
  if (ns < kSecond) return to_text(Duration(ns - ns % 1'000'000));
  return to_text(Duration((ns + kSecond / 2) / kSecond * kSecond));
}
std::string wait_text(const ModuleLife& life, MonoTime now) {
  return whole_seconds(life.deadline_mono_ns - now.ns) + " (step " + whole_seconds(life.backoff_step_ns) +
         ")";
}
// Whether a wait is for work of ours rather than for an end of the module's.
bool waits_for_work(const ModuleLife& life) {
  return life.work_failures > 0 &&
         (!life.exists || (is_stale(life) && !life.replacing) || !is_own_end(life.last_end));
}
std::string times(std::uint32_t count) {
  return count == 1 ? "once" : std::to_string(count) + " times";
}

// What else is going on with a module that runs.
std::string running_text(const ModuleLife& life, MonoTime now) {
  std::string text;
  if (life.has_probe && life.healthy_since_mono_ns == 0 && life.state == ModuleState::kRunning)
    text = "waiting for its first passed health probe";
  if (!is_stale(life)) return text;
  if (!text.empty()) text += "; ";
  if (is_pulling(life)) return text + "previous version; the new one is being downloaded";
  if (is_refused(life)) return text + "previous version; the wanted image was refused";
  if (life.work_failures > 0 && life.deadline_mono_ns != 0)
    return text + "previous version; download failed " + times(life.work_failures) + ", next try in " +
           wait_text(life, now);
  return text + "previous version";
}

std::string stopped_text(const ModuleLife& life) {
  if (life.operator_hold) return "stopped by an operator";
  if (life.target == ModuleTarget::kStopped) return life.exists ? "as desired" : "desired stopped";
  if (life.target == ModuleTarget::kAbsent) return "to be removed";
  if (!wants_run(life)) return "after " + end_text(life) + ", policy lets it rest";
  if (!life.may_start) return "waiting for its turn in the startup order";
  return life.last_end == EndCause::kNone ? std::string() : "after " + end_text(life);
}

std::string state_text(const ModuleLife& life, MonoTime now, std::uint32_t max_tries) {
  const std::string of = max_tries == 0 ? std::string() : " of " + std::to_string(max_tries);
  switch (life.state) {
    case ModuleState::kStopped:
      return stopped_text(life);
    case ModuleState::kDownloading:
      return life.exists ? "downloading the wanted version" : "downloading";
    case ModuleState::kCreating:
      return "being created";
    case ModuleState::kCreated:
      return "created, waiting for its turn in the startup order";
    case ModuleState::kStarting:
      return is_own_end(life.last_end)
                 ? "starting, restart " + std::to_string(life.restart_count) + of + " after " + end_text(life)
                 : "starting";
    case ModuleState::kRunning:
      return running_text(life, now);
    case ModuleState::kUnhealthy: {
      const std::string more = running_text(life, now);
      return "health probe fails" + (more.empty() ? more : "; " + more);
    }
    case ModuleState::kStopping:
      return life.work_failures > 0 && life.deadline_mono_ns != 0
                 ? "stop failed " + times(life.work_failures) + ", next try in " + wait_text(life, now)
                 : "being stopped";
    case ModuleState::kBackingOff:
      if (waits_for_work(life))
        return (life.needs_pull ? "download failed " : "creation failed ") + times(life.work_failures) +
               ", next try in " + wait_text(life, now);
      return "restart " + std::to_string(life.restart_count + 1) + of + " in " + wait_text(life, now) +
             " after " + end_text(life);
    case ModuleState::kFailed: {
      std::string text =
          waits_for_work(life)
              ? std::string(life.needs_pull ? "download" : "creation") + " failed " +
                    times(life.work_failures)
              : "after " + end_text(life) +
                    (life.restart_count > 0 ? " and " + std::to_string(life.restart_count) + " restarts"
                                            : std::string());
      if (life.gave_up) return text + "; given up";
      return life.deadline_mono_ns == 0 ? text + "; policy lets it rest"
                                        : text + "; next try in " + wait_text(life, now);
    }
    case ModuleState::kImageRejected:
      return "image does not match the digest the deployment demands" +
             (life.deadline_mono_ns == 0 ? std::string() : "; looked at again in " + wait_text(life, now));
    case ModuleState::kLost:
      return "vanished from the runtime, policy lets it rest";
    case ModuleState::kRemoving:
      return life.replacing ? "previous version being removed" : "being removed";
    case ModuleState::kRemoved:
      return "removed";
  }
  return "unknown";
}

}  // namespace

std::string status_description(const ModuleLife& life, MonoTime now, std::uint32_t max_tries) {
  std::string text = state_text(life, now, max_tries);
  if (life.blind)
    text += text.empty() ? "last known; runtime out of sight" : "; last known, runtime out of sight";
  return text;
}
std::string status_description(const ModuleLife& life, MonoTime now) {
  return status_description(life, now, 0);
}

std::string reason_text(ModuleReason reason, const ModuleLife& life) {
  const auto wait = [&] {
    return whole_seconds(life.backoff_wait_ns) + " of a step of " + whole_seconds(life.backoff_step_ns);
  };
  switch (reason) {
    case ModuleReason::kNone:
      return "no reason recorded";
    case ModuleReason::kDesiredRunning:
      return "the deployment wants it running";
    case ModuleReason::kDesiredStopped:
      return "the deployment wants it stopped";
    case ModuleReason::kDesiredAbsent:
      return "the deployment does not name it any more";
    case ModuleReason::kSpecChanged:
      return "the deployment wants another version of it";
    case ModuleReason::kSettingsChanged:
      return "its settings changed; it need not be made again";
    case ModuleReason::kPullDone:
      return "its image is there";
    case ModuleReason::kPullFailed:
      return "its image could not be downloaded (failure " + std::to_string(life.work_failures) +
             " in a row)" + (life.deadline_mono_ns == 0 ? "" : "; next try after " + wait());
    case ModuleReason::kDigestMismatch:
      return "the image does not have the digest the deployment demands";
    case ModuleReason::kCreateDone:
      return "it was created";
    case ModuleReason::kCreateFailed:
      return "it could not be created (failure " + std::to_string(life.work_failures) +
             " in a row); next try after " + wait();
    case ModuleReason::kTurnInOrder:
      return "all before it in the startup order are up";
    case ModuleReason::kTurnRevoked:
      return "it is not its turn in the startup order";
    case ModuleReason::kStartDone:
      return "it was started";
    case ModuleReason::kStartFailed:
      return life.state == ModuleState::kBackingOff ? "it could not be started; next try after " + wait()
                                                    : "it could not be started";
    case ModuleReason::kSeenRunning:
      return "the runtime shows it running";
    case ModuleReason::kSeenStopped:
      return "the runtime shows it not running";
    case ModuleReason::kExited:
      return "it ended with " + end_text(life);
    case ModuleReason::kStopDone:
      return "it was stopped";
    case ModuleReason::kStopFailed:
      return "it could not be stopped (failure " + std::to_string(life.work_failures) + " in a row)";
    case ModuleReason::kRemoveDone:
      return "it was removed";
    case ModuleReason::kRemoveFailed:
      return "it could not be removed (failure " + std::to_string(life.work_failures) + " in a row)";
    case ModuleReason::kHealthPassed:
      return "its health probe passes";
    case ModuleReason::kHealthFailed:
      return "its health probe failed past the threshold";
    case ModuleReason::kPolicyRestart:
      return "it ended with " + end_text(life) + " and its policy wants it back; restart " +
             std::to_string(life.restart_count + 1) + " after " + wait();
    case ModuleReason::kPolicyRest:
      return "it ended with " + end_text(life) + " and its policy lets it rest";
    case ModuleReason::kBackoffElapsed:
      return "the wait of " + wait() + " is over";
    case ModuleReason::kTriesExhausted:
      return life.last_end != EndCause::kNone && !waits_for_work(life)
                 ? "it ended with " + end_text(life) + " after " + std::to_string(life.restart_count) +
                       " restarts; from now on tried slowly, next after " + wait()
                 : "it failed " + times(life.work_failures) +
                       " in a row; from now on tried slowly, next after " + wait();
    case ModuleReason::kSlowProbe:
      return "tried again after a long rest of " + wait();
    case ModuleReason::kGaveUp:
      return "its tries are used up and its settings say to give up";
    case ModuleReason::kStableLongEnough:
      return "it ran well long enough; its counters start over";
    case ModuleReason::kOperatorRestart:
      return "an operator asked to restart it";
    case ModuleReason::kOperatorStop:
      return "an operator asked to stop it";
    case ModuleReason::kOperatorStart:
      return "an operator asked to start it";
    case ModuleReason::kVanished:
      return "it vanished from the runtime while it should run";
    case ModuleReason::kSeenAbsent:
      return "the runtime does not have it";
    case ModuleReason::kEngineGone:
      return "its runtime is out of sight; nothing is asked of it meanwhile";
    case ModuleReason::kEngineBack:
      return "its runtime is back";
    case ModuleReason::kRebooted:
      return "the device restarted";
    case ModuleReason::kAdopted:
      return "found as it is after the runtime was out of sight";
  }
  return "unknown reason";
}

std::string effect_names(std::uint32_t effects) {
  constexpr std::array<const char*, 10> kNames = {"pull",    "cancel-pull", "create",    "start",
                                                  "stop",    "remove",      "arm-timer", "cancel-timer",
                                                  "inspect", "report"};
  std::string text;
  for (std::size_t bit = 0; bit < kNames.size(); ++bit) {
    if ((effects & (1u << bit)) == 0) continue;
    if (!text.empty()) text += ", ";
    text += kNames[bit];
  }
  return text;
}

std::string module_diagram() {
  return mermaid<module::Rows, module::Stopped>();
}
std::string module_refusals() {
  return refusal_list<module::States, module::Inputs>(module::kPairs);
}

}  // namespace decklog::statemachines
