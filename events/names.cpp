#include <array>
#include <string_view>

#include "events/event.hpp"

namespace decklog {
namespace {

template <class Enum, std::size_t N>
std::string look_up(Enum value, const std::array<std::string_view, N>& names) {
  const auto number = static_cast<std::size_t>(value);
  if (number < N && !names[number].empty()) return std::string(names[number]);
  return "#" + std::to_string(number);
}

}  // namespace

std::string name_of(ModuleState value) {
  static constexpr std::array<std::string_view, 15> kNames{
      "",         "stopped",        "downloading", "creating", "created",
      "starting", "running",        "unhealthy",   "stopping", "backing-off",
      "failed",   "image-rejected", "lost",        "removing", "removed"};
  return look_up(value, kNames);
}
std::string name_of(ModuleTarget value) {
  static constexpr std::array<std::string_view, 4> kNames{"", "running", "stopped", "absent"};
  return look_up(value, kNames);
}
std::string name_of(RestartPolicy value) {
  static constexpr std::array<std::string_view, 5> kNames{"", "never", "on-failure", "on-unhealthy",
                                                          "always"};
  return look_up(value, kNames);
}
std::string name_of(EndCause value) {
  static constexpr std::array<std::string_view, 10> kNames{
      "none",      "clean",     "error",    "signal", "out-of-memory",
      "unhealthy", "requested", "shutdown", "lost",   "start-failed"};
  return look_up(value, kNames);
}
std::string name_of(PendingWork value) {
  static constexpr std::array<std::string_view, 6> kNames{"none",  "pull", "create",
                                                          "start", "stop", "remove"};
  return look_up(value, kNames);
}
std::string name_of(ModuleReason value) {
  static constexpr std::array<std::string_view, 40> kNames{"none",
                                                           "desired-running",
                                                           "desired-stopped",
                                                           "desired-absent",
                                                           "spec-changed",
                                                           "settings-changed",
                                                           "pull-done",
                                                           "pull-failed",
                                                           "digest-mismatch",
                                                           "create-done",
                                                           "create-failed",
                                                           "turn-in-order",
                                                           "start-done",
                                                           "start-failed",
                                                           "seen-running",
                                                           "exited",
                                                           "stop-done",
                                                           "stop-failed",
                                                           "remove-done",
                                                           "remove-failed",
                                                           "health-passed",
                                                           "health-failed",
                                                           "policy-restart",
                                                           "policy-rest",
                                                           "backoff-elapsed",
                                                           "tries-exhausted",
                                                           "slow-probe",
                                                           "gave-up",
                                                           "stable",
                                                           "operator-restart",
                                                           "operator-stop",
                                                           "vanished",
                                                           "engine-gone",
                                                           "engine-back",
                                                           "rebooted",
                                                           "adopted",
                                                           "operator-start",
                                                           "seen-absent",
                                                           "seen-stopped",
                                                           "turn-revoked"};
  return look_up(value, kNames);
}
std::string name_of(DeploymentState value) {
  static constexpr std::array<std::string_view, 7> kNames{"",       "none",         "applying",   "applied",
                                                          "failed", "rolling-back", "rolled-back"};
  return look_up(value, kNames);
}
std::string name_of(DeploymentReason value) {
  static constexpr std::array<std::string_view, 12> kNames{
      "none",     "accepted",         "unchanged",     "rejected",  "converged",       "diverged",
      "deadline", "rollback-started", "rollback-done", "known-bad", "no-good-version", "restored"};
  return look_up(value, kNames);
}
std::string name_of(UplinkState value) {
  static constexpr std::array<std::string_view, 7> kNames{
      "", "disconnected", "connecting", "connected", "suspect", "backing-off", "refused"};
  return look_up(value, kNames);
}
std::string name_of(ClientState value) {
  static constexpr std::array<std::string_view, 8> kNames{
      "", "connecting", "authenticating", "connected", "suspended", "refused", "taken-over", "closed"};
  return look_up(value, kNames);
}
std::string name_of(GapKind value) {
  static constexpr std::array<std::string_view, 6> kNames{"",         "lost",      "damaged",
                                                          "redacted", "compacted", "not-written"};
  return look_up(value, kNames);
}
std::string name_of(EventKind value) {
  static constexpr std::array<std::string_view, 4> kNames{"", "input", "decision", "note"};
  return look_up(value, kNames);
}
std::string name_of(ClockState value) {
  static constexpr std::array<std::string_view, 3> kNames{"", "unsynced", "synced"};
  return look_up(value, kNames);
}

}  // namespace decklog
