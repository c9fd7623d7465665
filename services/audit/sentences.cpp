#include "services/audit/sentences.hpp"

#include "events/utf8.hpp"
#include "services/runtime/runtime.hpp"
#include "services/uplink/uplink.hpp"
#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::audit {
namespace {

namespace sm = statemachines;

const char* presence_text(std::uint8_t presence) {
  switch (static_cast<runtime::Presence>(presence)) {
    case runtime::Presence::kAbsent:
      return "not there";
    case runtime::Presence::kCreated:
      return "created";
    case runtime::Presence::kRunning:
      return "running";
    case runtime::Presence::kPaused:
      return "paused";
    case runtime::Presence::kRestarting:
      return "restarting";
    case runtime::Presence::kExited:
      return "ended";
    case runtime::Presence::kDead:
      return "dead";
    case runtime::Presence::kRemoving:
      return "being removed";
    case runtime::Presence::kUnknown:
      break;
  }
  return "unknown";
}

const char* health_text(std::uint8_t health) {
  switch (static_cast<runtime::Health>(health)) {
    case runtime::Health::kStarting:
      return ", health starting";
    case runtime::Health::kHealthy:
      return ", healthy";
    case runtime::Health::kUnhealthy:
      return ", unhealthy";
    case runtime::Health::kNone:
      break;
  }
  return "";
}

std::string moved(const std::string& from, const std::string& to) {
  return from == to ? to : from + " -> " + to;
}
std::string after(const std::string& separator, const std::string& text) {
  return text.empty() ? "" : separator + text;
}

struct Speaker {
  const Envelope& event;

  std::string operator()(const UnknownFact& f) const {
    return "an event of type " + std::to_string(f.type) + " this build does not know";
  }
  std::string operator()(const ServiceStarted& f) const {
    return f.service + " " + f.version + " started on " + f.device +
           (f.clean_shutdown ? "" : " (the run before did not end in order)");
  }
  std::string operator()(const ServiceStopped& f) const { return "stopped: " + f.reason; }
  std::string operator()(const ClockStepped& f) const {
    return "wall clock stepped by " + to_text(Duration(f.step_ns));
  }
  std::string operator()(const StoreObserved& f) const { return f.store + ": " + f.message; }
  std::string operator()(const GapRecorded& f) const {
    const std::string range = f.first == 0
                                  ? std::to_string(f.count) + " events"
                                  : "events " + std::to_string(f.first) + " to " + std::to_string(f.last);
    return range + " " + name_of(f.gap) + after(": ", f.reason) + after("; kept aside in ", f.kept_aside);
  }
  std::string operator()(const HeadSigned& f) const {
    return "tree head over " + std::to_string(f.tree_size) + " events signed: " + f.root.substr(0, 16);
  }
  std::string operator()(const SnapshotTaken& f) const {
    return "state up to " + std::to_string(f.through) + " stored";
  }
  std::string operator()(const MessagesDropped& f) const {
    return std::to_string(f.count) + " messages dropped (" + f.reason + ")" + after(" on route ", f.route) +
           after(" to ", f.endpoint) + (f.first == 0 ? ", told from the counters after a crash" : "");
  }
  std::string operator()(const Remarked& f) const { return f.topic + after(" ", f.subject) + ": " + f.text; }
  std::string operator()(const ModuleObserved& f) const {
    std::string text = std::string("seen ") + presence_text(f.presence) + health_text(f.health);
    const auto presence = static_cast<runtime::Presence>(f.presence);
    if (presence == runtime::Presence::kExited || presence == runtime::Presence::kDead) {
      text += f.oom_killed         ? ": out of memory"
              : f.exit_signal != 0 ? ": signal " + std::to_string(f.exit_signal)
                                   : ": exit code " + std::to_string(f.exit_code);
    }
    return text + after(" (", f.runtime_id.substr(0, 24)) + (f.runtime_id.empty() ? "" : ")");
  }
  std::string operator()(const ModulesListed& f) const {
    return "runtime lists " + std::to_string(f.modules.size()) + " modules";
  }
  std::string operator()(const EngineObserved& f) const {
    return std::string(f.runtime == 1 ? "docker engine" : "process runtime") +
           (f.available ? " is there" : " is gone") + after(": ", f.detail);
  }
  std::string operator()(const WorkFinished& f) const {
    return name_of(f.work) + (f.code == 0 ? " done" : " failed: " + f.message) + " after " +
           to_text(Duration(f.took_ns)) + (f.bytes != 0 ? ", " + std::to_string(f.bytes) + " bytes" : "");
  }
  std::string operator()(const PullProgressed& f) const {
    return f.phase + " " + std::to_string(f.bytes_done) +
           (f.bytes_total ? " of " + std::to_string(f.bytes_total) : "") + " bytes";
  }
  std::string operator()(const ProbeFinished& f) const {
    return f.probe + " probe " + (f.passed ? "passed" : "failed") + after(": ", f.detail);
  }
  std::string operator()(const ModuleTransitioned& f) const {
    return moved(name_of(f.from), name_of(f.to)) + ": " + sm::reason_text(f.reason, f.life) +
           after("; asks ", sm::effect_names(f.effects));
  }
  std::string operator()(const DesiredReceived& f) const {
    return "desired document " + std::to_string(f.version) + " from " + f.source + ", " +
           std::to_string(f.size) + " bytes" + after(": ", f.problem);
  }
  std::string operator()(const OperatorCommanded& f) const {
    return f.command + " asked for" + after(" by ", event.actor.value);
  }
  std::string operator()(const TimerFired& f) const { return "timer " + f.key; }
  std::string operator()(const ReportAcknowledged& f) const {
    if (f.code != 0) return "the fleet refused the reported document: " + f.message;
    return "the fleet holds the reported document up to event " + std::to_string(f.through) + " (revision " +
           std::to_string(f.revision) + ")";
  }
  std::string operator()(const DeploymentTransitioned& f) const {
    std::string text = moved(name_of(f.from), name_of(f.to)) + ": " + sm::reason_text(f.reason, f.life);
    for (const auto& line : f.plan) text += "; " + line;
    return text;
  }
  std::string operator()(const InputRejected& f) const {
    return f.input + " refused in state " + f.state + ": " + f.why;
  }
  std::string operator()(const LinkObserved& f) const {
    static constexpr const char* kChange[] = {"ping", "connected", "lost", "refused", "connect failed"};
    const std::string change = f.change < 5 ? kChange[f.change] : "?";
    const auto cause = static_cast<uplink::LinkCause>(f.cause);
    return (f.change == 0 ? std::string(f.cause == 0 ? "ping answered" : "ping missed") : "link " + change) +
           (f.cause == 0 || f.change == 0 ? "" : std::string(" (") + uplink::to_string(cause) + ")") +
           after(": ", f.detail);
  }
  std::string operator()(const ClientObserved& f) const {
    return f.observation + after(" (", f.cause) + (f.cause.empty() ? "" : ")") + after(" from ", f.peer) +
           after(": ", f.detail);
  }
  std::string operator()(const UplinkTransitioned& f) const {
    std::string text = moved(name_of(f.from), name_of(f.to)) + " (" + f.trigger + ")";
    if (f.life.cause != 0)
      text += std::string(", cause ") + uplink::to_string(static_cast<uplink::LinkCause>(f.life.cause));
    if (f.to == UplinkState::kBackingOff)
      text += ", attempt " + std::to_string(f.life.attempt) + ", waits " +
              to_text(Duration(f.life.backoff_wait_ns));
    return text;
  }
  std::string operator()(const ClientTransitioned& f) const {
    return moved(name_of(f.from), name_of(f.to)) + " (" + f.trigger + ")" + after(", cause ", f.cause) +
           (f.life.storming ? ", reconnect storm" : "");
  }
};

}  // namespace

std::string sentence(const Envelope& event) {
  // Engines, programs and documents have a say in it: nothing of that may drive a terminal.
  const std::string text = std::visit(Speaker{event}, event.fact);
  return printable(text, text.size());
}

}  // namespace decklog::audit
