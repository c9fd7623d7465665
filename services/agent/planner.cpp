#include "services/agent/planner.hpp"

#include <algorithm>

namespace decklog::agent {
namespace {

using statemachines::ModuleWanted;

ModuleWanted wanted_of(const DesiredModule& module) {
  ModuleWanted wanted;
  wanted.target = module.status;
  wanted.policy = module.policy;
  wanted.spec = module.spec;
  wanted.needs_pull =
      module.kind == runtime::RuntimeKind::kProcess || module.pull_policy == runtime::PullPolicy::kOnCreate;
  wanted.has_probe = module.has_probe;
  return wanted;
}

std::string changed_settings(const ModuleLife& life, const ModuleWanted& wanted) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (life.policy != wanted.policy)
    add("restart policy " + name_of(life.policy) + " -> " + name_of(wanted.policy));
  if (life.has_probe != wanted.has_probe)
    add(wanted.has_probe ? "health probe added" : "health probe removed");
  return text;
}

// What the change of what a module is made of looks like to a person.
std::string changed_spec(const DesiredModule& now, const DesiredModule* before) {
  if (!before) return "what it is made of changed";
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (now.kind != before->kind) add("type");
  if (now.image != before->image) add("image " + before->image + " -> " + now.image);
  if (now.digest != before->digest) add("digest");
  if (now.create_options != before->create_options) add("createOptions");
  if (now.command != before->command) add("command");
  if (now.env != before->env) add("env");
  if (now.working_directory != before->working_directory) add("working directory");
  if (now.user != before->user) add("user");
  if (now.memory_limit_bytes != before->memory_limit_bytes) add("memory limit");
  return text.empty() ? "what it is made of changed" : text + " changed";
}

// The module's machine was told all that the deployment says of it.
bool told(const DesiredModule& module, const ModuleLife& life) {
  return life.wanted_spec != 0 && life.wanted_spec == module.spec && life.target == module.status &&
         life.policy == module.policy && life.has_probe == module.has_probe;
}

std::optional<PlanStep> step_for(const DesiredModule& module, const AgentState& state) {
  const auto found = state.modules.find(module.name);
  const bool known = found != state.modules.end();
  if (known && told(module, found->second.life)) return std::nullopt;
  PlanStep step{module.name, PlanAction::kCreate, "", wanted_of(module)};
  if (!known || found->second.life.wanted_spec == 0) {
    step.why = known && found->second.life.exists ? "found at the runtime, not managed yet" : "not there";
    return step;
  }
  const ModuleLife& life = found->second.life;
  if (life.wanted_spec != module.spec || life.target == ModuleTarget::kAbsent) {
    step.action = life.exists ? PlanAction::kReplace : PlanAction::kCreate;
    step.why = life.target == ModuleTarget::kAbsent ? "wanted again"
                                                    : changed_spec(module, state.desired(module.name));
  } else if (life.target != step.wanted.target) {
    step.action = step.wanted.target == ModuleTarget::kRunning ? PlanAction::kStart : PlanAction::kStop;
    step.why = "desired status is " + name_of(step.wanted.target);
  } else {
    step.action = PlanAction::kAdjust;
    step.why = changed_settings(life, step.wanted);
  }
  return step;
}

// Wanted to run, and does not hold up modules of a higher order (any more).
bool settled(const ModuleLife& life) {
  if (life.operator_hold) return true;  // whoever stopped it by hand did not mean the others
  switch (life.state) {
    case ModuleState::kRunning:
      return !life.has_probe || life.healthy_since_mono_ns != 0;
    case ModuleState::kUnhealthy:
    case ModuleState::kFailed:
    case ModuleState::kImageRejected:
    case ModuleState::kBackingOff:
    case ModuleState::kLost:
      return true;
    case ModuleState::kStopped:
      return life.may_start && life.last_end != EndCause::kNone;
    default:
      return life.restart_count > 0 || life.work_failures > 0 || life.operator_hold;
  }
}

bool as_wanted(const DesiredModule& module, const ModuleLife& life) {
  if (life.wanted_spec != module.spec || life.current_spec != module.spec ||
      life.pending != PendingWork::kNone)
    return false;
  if (module.status == ModuleTarget::kStopped) {
    return life.state == ModuleState::kStopped || life.state == ModuleState::kCreated ||
           life.state == ModuleState::kFailed;
  }
  if (life.state == ModuleState::kRunning) return !life.has_probe || life.healthy_since_mono_ns != 0;
  // A module that ended well and whose policy lets it rest has done what was wanted; so has one an operator
  // holds.
  return life.state == ModuleState::kStopped && (life.last_end == EndCause::kClean || life.operator_hold);
}

// Told what is wanted, and not yet that it may start.
bool waits_for_turn(const ModuleLife& life) {
  return !life.may_start && life.target == ModuleTarget::kRunning;
}

// What is wanted beside what there is, by name; either may be missing.
template <class Visit>
void side_by_side(const Deployment& deployment, const AgentState& state, Visit visit) {
  auto wanted = deployment.modules.begin();
  auto there = state.modules.begin();
  while (wanted != deployment.modules.end() || there != state.modules.end()) {
    const auto order = wanted == deployment.modules.end() ? std::strong_ordering::greater
                       : there == state.modules.end()     ? std::strong_ordering::less
                                                          : wanted->first <=> there->first;
    visit(order > 0 ? nullptr : &wanted->second, order < 0 ? nullptr : &there->second.life);
    if (order <= 0) ++wanted;
    if (order >= 0) ++there;
  }
}

// Beyond every order that a deployment can name.
constexpr std::uint64_t kNobody = std::uint64_t{1} << 32;

// The lowest order among modules that hold up those of a higher one.
std::uint64_t held_up_above(const DesiredModule& module, const ModuleLife* life) {
  const bool holds_up = module.status == ModuleTarget::kRunning && !(life && settled(*life));
  return holds_up ? module.startup_order : kNobody;
}

}  // namespace

const char* to_string(PlanAction action) {
  switch (action) {
    case PlanAction::kCreate:
      return "create";
    case PlanAction::kReplace:
      return "replace";
    case PlanAction::kAdjust:
      return "adjust";
    case PlanAction::kStart:
      return "start";
    case PlanAction::kStop:
      return "stop";
    case PlanAction::kRemove:
      return "remove";
  }
  return "?";
}

std::string describe(const PlanStep& step) {
  return std::string(to_string(step.action)) + " " + step.module.value + ": " + step.why;
}

std::vector<PlanStep> plan(const Deployment& deployment, const AgentState& state) {
  std::vector<PlanStep> steps;
  for (const auto& [name, record] : state.modules) {
    if (deployment.modules.contains(name) || record.life.target == ModuleTarget::kAbsent) continue;
    ModuleWanted wanted;
    wanted.target = ModuleTarget::kAbsent;
    wanted.policy = record.life.policy;
    steps.push_back({name, PlanAction::kRemove, "no longer in the deployment", wanted});
  }
  std::vector<const DesiredModule*> ordered;
  for (const auto& [name, module] : deployment.modules) ordered.push_back(&module);
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto* a, const auto* b) { return a->startup_order < b->startup_order; });
  for (const auto* module : ordered) {
    if (auto step = step_for(*module, state)) steps.push_back(std::move(*step));
  }
  return steps;
}

Survey survey(const Deployment& deployment, const AgentState& state) {
  Survey seen{.converged = true};
  std::uint64_t held = kNobody, due = kNobody;  // lowest order that holds others up, that waits for its turn
  side_by_side(deployment, state, [&](const DesiredModule* module, const ModuleLife* life) {
    if (!module) {  // is being removed and not gone yet, or has to be told
      seen.differs = seen.differs || life->target != ModuleTarget::kAbsent;
      seen.converged = false;
      return;
    }
    seen.differs = seen.differs || !life || !told(*module, *life);
    seen.converged = seen.converged && life && as_wanted(*module, *life);
    held = std::min(held, held_up_above(*module, life));
    if (life && waits_for_turn(*life)) due = std::min<std::uint64_t>(due, module->startup_order);
  });
  seen.turn_due = due != kNobody && due <= held;
  return seen;
}

std::vector<ModuleName> granted_turns(const Deployment& deployment, const AgentState& state) {
  std::uint64_t held = kNobody;
  side_by_side(deployment, state, [&](const DesiredModule* module, const ModuleLife* life) {
    if (module) held = std::min(held, held_up_above(*module, life));
  });
  std::vector<ModuleName> granted;
  side_by_side(deployment, state, [&](const DesiredModule* module, const ModuleLife* life) {
    if (module && life && waits_for_turn(*life) && module->startup_order <= held)
      granted.push_back(module->name);
  });
  return granted;
}

}  // namespace decklog::agent
