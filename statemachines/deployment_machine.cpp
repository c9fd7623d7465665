// One step of Deployment, and its reasons in words.
#include "statemachines/deployment_machine.hpp"

#include "statemachines/deployment_table.hpp"
#include "statemachines/run_once.hpp"

namespace decklog::statemachines {

DeploymentStep deployment::step_traced(const DeploymentLife& life, const DeploymentInput& input,
                                       const Context& context, RowTrace& trace) {
  return step_once<deployment::Table, DeploymentStep, deployment::Run>(life, input, context, trace);
}

DeploymentStep step(const DeploymentLife& life, const DeploymentInput& input, const Context& context) {
  RowTrace unread;
  return deployment::step_traced(life, input, context, unread);
}

std::string reason_text(DeploymentReason reason, const DeploymentLife& life) {
  const std::string version = "version " + std::to_string(life.version);
  const std::string last = "version " + std::to_string(life.last_version);
  switch (reason) {
    case DeploymentReason::kNone:
      return "no reason recorded";
    case DeploymentReason::kAccepted:
      return version + " was accepted";
    case DeploymentReason::kUnchanged:
      return last + " says what is in force already";
    case DeploymentReason::kRejected:
      return last + " was refused with code " + std::to_string(life.last_code) + ": " + life.last_message;
    case DeploymentReason::kConverged:
      return life.state == DeploymentState::kApplied
                 ? "every module is as wanted; " + version + " is applied"
                 : "every module is as wanted; " + version + " has to stay so for " +
                       to_text(Duration(life.min_healthy_ns));
    case DeploymentReason::kDiverged:
      return "a module is not as " + version + " wants it";
    case DeploymentReason::kDeadline:
      return version + " was not applied within " + to_text(Duration(life.deadline_ns));
    case DeploymentReason::kRollbackStarted:
      return "the deadline of " + to_text(Duration(life.deadline_ns)) + " passed; going back to " + version;
    case DeploymentReason::kRollbackDone:
      return "back at " + version;
    case DeploymentReason::kKnownBad:
      return last + " failed before; it is not tried again until it changes";
    case DeploymentReason::kNoGoodVersion:
      return version + " was not applied within " + to_text(Duration(life.deadline_ns)) +
             ", and there is no good version to go back to";
    case DeploymentReason::kRestored:
      return version + " goes on after a restart of the device";
  }
  return "unknown reason";
}

std::string deployment_diagram() {
  return mermaid<deployment::Table::Rows, deployment::Nothing>();
}
std::string deployment_refusals() {
  return refusal_list<deployment::Table::States, deployment::Table::Inputs>(deployment::Table::kPairs);
}

}  // namespace decklog::statemachines
