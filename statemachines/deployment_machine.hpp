// Deployment: what became of the newest desired document. Table in deployment_table.hpp, diagram in
// README.md. Success = every module as wanted, and healthy for a minimum time, before a deadline. Otherwise,
// if the document asks for it, the last good document is applied again and the bad one is not retried until
// it changes.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "events/deployment_facts.hpp"
#include "statemachines/step.hpp"

namespace decklog::statemachines {

enum DeploymentEffect : std::uint32_t {
  kApplyDocument = 1u << 0,      // make life.hash the document in force (keep it sealed), plan again
  kApplyGoodDocument = 1u << 1,  // make life.good_hash the document in force, plan again
  kKeepGoodDocument = 1u << 2,   // the document in force became the last good one
  kArmDeploymentTimer =
      1u << 3,  // timer "deployment" at life.deadline_mono_ns or min-healthy time, whichever is first
  kCancelDeploymentTimer = 1u << 4,
  kReportDeployment = 1u << 5,
};

struct DocumentAccepted final {
  std::uint64_t version = 0;
  std::string hash;
  bool rollback_on_failure = false;
  std::int64_t min_healthy_ns = 0;  // 0 = at once
  std::int64_t deadline_ns = 0;     // 0 = no deadline
};
struct DocumentRejected final {
  std::uint64_t version = 0;
  std::int32_t code = 400;  // 400, 412, 417
  std::string message;      // names the path in the document
};
struct Converged final {};  // every module is as wanted
struct Diverged final {};   // some module is not (any more)
struct DeploymentTimerFired final {};
struct DeploymentRebooted final {};  // monotonic times are void

using DeploymentInput = std::variant<DocumentAccepted, DocumentRejected, Converged, Diverged,
                                     DeploymentTimerFired, DeploymentRebooted>;

struct DeploymentStep : Step<DeploymentLife> {
  DeploymentReason reason = DeploymentReason::kNone;
};

// Unlike the small machines, the life holds strings: documents are rare.
DeploymentStep step(const DeploymentLife& life, const DeploymentInput& input, const Context& context);

std::string reason_text(DeploymentReason reason, const DeploymentLife& life);
std::string deployment_diagram();
std::string deployment_refusals();  // Markdown table of the (state, input) pairs that no row takes

}  // namespace decklog::statemachines
