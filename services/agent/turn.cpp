#include "services/agent/turn.hpp"

#include <algorithm>
#include <charconv>

#include "services/agent/core.hpp"
#include "services/agent/stored_deployment.hpp"

namespace decklog::agent {

namespace sm = statemachines;
using runtime::Health;
using runtime::Presence;

namespace {

// Plans and turns follow from each other a few times at most; more is a bug, and a device must not spin on a
// bug.
constexpr int kMaxRounds = 64;

// One 64-bit draw came with the input; every step of the turn gets its own from it (SplitMix64 finaliser).
std::uint64_t derive(std::uint64_t random, std::uint64_t ordinal) {
  std::uint64_t x = random + ordinal * 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

std::uint64_t spec_of(const std::string& hash) {
  std::uint64_t spec = 0;
  if (hash.size() < 16) return 0;
  const auto [end, failed] = std::from_chars(hash.data(), hash.data() + 16, spec, 16);
  return failed == std::errc{} && end == hash.data() + 16 ? std::max<std::uint64_t>(spec, 1) : 0;
}

EndCause end_cause(const ModuleObserved& seen, const BootId& boot) {
  if (!seen.boot.empty() && seen.boot != boot.value) return EndCause::kShutdown;
  if (seen.oom_killed) return EndCause::kOutOfMemory;
  if (seen.exit_signal != 0) return EndCause::kSignal;
  return seen.exit_code == 0 ? EndCause::kClean : EndCause::kError;
}

std::optional<sm::ModuleInput> meaning(const ModuleObserved& seen, const BootId& boot) {
  const std::uint64_t spec = spec_of(seen.spec_hash);
  switch (static_cast<Presence>(seen.presence)) {
    case Presence::kAbsent:
      return sm::SeenAbsent{};
    case Presence::kCreated:
      return sm::SeenCreated{spec};
    case Presence::kRunning:
    case Presence::kPaused:
    case Presence::kRestarting:
      return sm::SeenRunning{spec};
    case Presence::kExited:
    case Presence::kDead:
      return sm::SeenExited{spec, end_cause(seen, boot), seen.exit_code, seen.exit_signal};
    case Presence::kRemoving:
    case Presence::kUnknown:
      return std::nullopt;
  }
  return std::nullopt;
}

sm::ModuleInput meaning(const WorkFinished& work) {
  const bool ok = work.code == 0;
  // Work that failed because nobody was there to do it says nothing about the module.
  if (work.code == static_cast<std::uint16_t>(Errc::kUnavailable) && work.detail == kEngineAway)
    return sm::EngineGone{};
  switch (work.work) {
    case PendingWork::kPull:
      if (work.code == static_cast<std::uint16_t>(Errc::kCorrupt)) return sm::DigestRejected{};
      return ok ? sm::ModuleInput(sm::PullSucceeded{}) : sm::PullFailed{};
    case PendingWork::kCreate:
      if (ok) return sm::CreateSucceeded{spec_of(work.detail)};
      return sm::CreateFailed{.image_missing = work.code == static_cast<std::uint16_t>(Errc::kNotFound)};
    case PendingWork::kStart:
      return ok ? sm::ModuleInput(sm::StartSucceeded{}) : sm::StartFailed{};
    case PendingWork::kStop:
      return ok ? sm::ModuleInput(sm::StopSucceeded{work.exit_code, work.exit_signal}) : sm::StopFailed{};
    case PendingWork::kRemove:
      return ok ? sm::ModuleInput(sm::RemoveSucceeded{}) : sm::RemoveFailed{};
    case PendingWork::kNone:
      break;
  }
  return sm::RemoveFailed{};
}

template <class Fact, class... Others>
constexpr bool kIsOneOf = (std::is_same_v<Fact, Others> || ...);

// Facts whose fold changes nothing the planner looks at: the document in force, the modules there are, their
// lives, the deployment's life. Of any other it is supposed that it does. (A module seen for the first time
// is one more that there is: told by their number.)
bool unseen_by_plan(const Fact& fact) {
  return std::visit(
      []<class One>(const One&) {
        return kIsOneOf<One, ModuleObserved, WorkFinished, PullProgressed, ProbeFinished, TimerFired,
                        LinkObserved, UplinkTransitioned, InputRejected, ReportAcknowledged>;
      },
      fact);
}

}  // namespace

Turn::Turn(AgentState& state, bool& settled, const Envelope& input)
    : state_(state), settled_(settled), input_(input), boot_before_(state.boot) {
  take_in(input_);
}

void Turn::take_in(const Envelope& event) {
  const std::size_t modules = state_.modules.size();
  apply(state_, event);
  settled_ = settled_ && unseen_by_plan(event.fact) && modules == state_.modules.size();
}

void Turn::run() {
  std::visit([this](const auto& fact) { on(fact); }, input_.fact);
  settle();
}

void Turn::on(const ServiceStarted&) {
  const bool rebooted = !boot_before_.empty() && boot_before_ != input_.boot;
  std::vector<ModuleName> names;
  for (const auto& [name, module] : state_.modules) names.push_back(name);
  for (const auto& name : names) {
    // Work in flight died with the process before; what is true now the runtime will say.
    tell(name, sm::EngineGone{});
    if (rebooted) tell(name, sm::DeviceRebooted{});
  }
  if (rebooted) tell_deployment(sm::DeploymentRebooted{});
  tell_uplink(sm::UplinkRestarted{});
  if (state_.settings.uplink_wanted) tell_uplink(sm::LinkWanted{});
}

void Turn::on(const DesiredReceived& fact) {
  if (fact.problem_code != 0) {
    tell_deployment(sm::DocumentRejected{fact.version, fact.problem_code, fact.problem});
    return;
  }
  const auto parsed = parse_stored_deployment(fact.document);
  if (!parsed) {
    tell_deployment(
        sm::DocumentRejected{fact.version, desired_status_code(parsed.error()), describe(parsed.error())});
    return;
  }
  std::vector<std::string> lines;
  for (const auto& step : plan(*parsed, state_)) lines.push_back(describe(step));
  tell_deployment(sm::DocumentAccepted{fact.version, fact.hash, parsed->rollback_on_failure,
                                       parsed->min_healthy.count(), parsed->deadline.count()},
                  std::move(lines));
}

void Turn::on(const ModuleObserved& fact) {
  const bool known = state_.modules.contains(fact.module);
  if (!known || !state_.in_force()) return;
  if (const auto input = meaning(fact, state_.boot)) tell(fact.module, *input);
  tell_health(fact.module, fact);
}

// A HEALTHCHECK in the image or in createOptions: the engine runs it and its word counts.
void Turn::tell_health(const ModuleName& name, const ModuleObserved& seen) {
  if (static_cast<Presence>(seen.presence) != Presence::kRunning) return;
  const auto* desired = state_.desired(name);
  if (desired && (desired->startup || desired->liveness)) return;
  if (static_cast<Health>(seen.health) == Health::kHealthy) tell(name, sm::HealthPassed{});
  if (static_cast<Health>(seen.health) == Health::kUnhealthy) tell(name, sm::HealthFailed{});
}

void Turn::on(const ModulesListed& fact) {
  std::vector<ModuleName> gone;
  for (const auto& [name, module] : state_.modules) {
    const bool listed = std::find(fact.modules.begin(), fact.modules.end(), name.value) != fact.modules.end();
    if (module.runtime == fact.runtime && !listed && (module.life.exists || module.life.blind))
      gone.push_back(name);
  }
  for (const auto& name : gone) tell(name, sm::SeenAbsent{});
}

void Turn::on(const EngineObserved& fact) {
  std::vector<ModuleName> names;
  for (const auto& [name, module] : state_.modules) {
    if (module.runtime == fact.runtime) names.push_back(name);
  }
  for (const auto& name : names) {
    if (fact.available)
      tell(name, sm::EngineBack{});
    else
      tell(name, sm::EngineGone{});
  }
}

void Turn::on(const WorkFinished& fact) {
  const auto found = state_.modules.find(fact.module);
  if (found == state_.modules.end()) return;
  if (found->second.work_asked_by.value != fact.asked_by) {
    reject("ModuleLifecycle", fact.module.value, name_of(found->second.life.state), "WorkFinished",
           "answer to superseded work");
    return;
  }
  tell(fact.module, meaning(fact));
}

void Turn::on(const ProbeFinished& fact) {
  const auto found = state_.modules.find(fact.module);
  const auto* desired = state_.desired(fact.module);
  if (found == state_.modules.end() || !desired) return;
  const auto& probe = fact.probe == "startup" ? desired->startup : desired->liveness;
  if (!probe) return;
  // Startup first; its passing says the module is up, whatever liveness will say later.
  const bool started = fact.probe == "startup" && fact.passed;
  if (started || (fact.passed && found->second.probe_passes >= probe->success_threshold))
    tell(fact.module, sm::HealthPassed{});
  if (!fact.passed && found->second.probe_failures >= probe->failure_threshold)
    tell(fact.module, sm::HealthFailed{});
}

void Turn::on(const OperatorCommanded& fact) {
  if (!state_.modules.contains(fact.module)) {
    reject("ModuleLifecycle", fact.module.value, "unknown", fact.command, "no such module");
    return;
  }
  if (fact.command == "restart")
    tell(fact.module, sm::OperatorRestart{});
  else if (fact.command == "stop")
    tell(fact.module, sm::OperatorStop{});
  else if (fact.command == "start")
    tell(fact.module, sm::OperatorStart{});
  else
    reject("ModuleLifecycle", fact.module.value, "any", fact.command, "no such command");
}

void Turn::on(const TimerFired& fact) {
  if (fact.key == "deployment")
    tell_deployment(sm::DeploymentTimerFired{});
  else if (fact.key == "uplink")
    tell_uplink(sm::UplinkTimerFired{});
  else if (fact.key.starts_with("module/")) {
    const ModuleName name(fact.key.substr(7));
    if (state_.modules.contains(name)) tell(name, sm::ModuleTimerFired{});
  }
}

void Turn::on(const LinkObserved& fact) {
  switch (fact.change) {
    case 0:
      if (fact.cause == 0)
        tell_uplink(sm::PingAnswered{});
      else
        tell_uplink(sm::PingMissed{});
      break;
    case 1:
      tell_uplink(sm::LinkEstablished{});
      break;
    case 2:
      tell_uplink(sm::LinkLost{fact.cause});
      break;
    case 3:
      tell_uplink(sm::LinkRefused{fact.cause});
      break;
    default:
      tell_uplink(sm::LinkFailed{fact.cause});
      break;
  }
}

bool Turn::engine_there(const DesiredModule& module) const {
  const auto found = state_.engines.find(static_cast<std::uint8_t>(module.kind));
  return found != state_.engines.end() && found->second;
}

sm::Context Turn::context() {
  return {input_.time.mono, derive(input_.random, ++draws_)};
}

void Turn::tell(const ModuleName& name, const sm::ModuleInput& input, Sequence cause) {
  const auto* desired = state_.desired(name);
  const auto [record, made] = state_.modules.try_emplace(name);
  const ModuleLife before = record->second.life;
  // A life that begins while its runtime is away begins blind: nothing is asked of nobody.
  if (made && desired && !engine_there(*desired)) {
    tell(name, sm::EngineGone{}, cause);
    return tell(name, input, cause);
  }
  const sm::ModuleContext with{context(), desired ? desired->restart : sm::RestartSettings{}};
  const sm::ModuleStep step = sm::step(before, input, with);
  if (step.verdict == sm::Verdict::kIgnored) return;
  if (step.verdict == sm::Verdict::kRejected) {
    reject("ModuleLifecycle", name.value, name_of(before.state), step.trigger, "not possible in this state");
    return;
  }
  ModuleTransitioned fact;
  fact.module = name;
  fact.from = before.state;
  fact.to = step.next.state;
  fact.trigger = step.trigger;
  fact.reason = step.reason;
  fact.effects = step.effects;
  fact.life = step.next;
  decide(std::move(fact), cause ? cause : input_.sequence);
}

void Turn::tell_deployment(const sm::DeploymentInput& input, std::vector<std::string> plan) {
  const DeploymentLife before = state_.deployment;
  const sm::DeploymentStep step = sm::step(before, input, context());
  if (step.verdict == sm::Verdict::kIgnored) return;
  if (step.verdict == sm::Verdict::kRejected) {
    reject("Deployment", "deployment", name_of(before.state), step.trigger, "not possible in this state");
    return;
  }
  DeploymentTransitioned fact;
  fact.from = before.state;
  fact.to = step.next.state;
  fact.trigger = step.trigger;
  fact.reason = step.reason;
  fact.plan = std::move(plan);
  fact.life = step.next;
  fact.effects = step.effects;
  deployment_decision_ = decide(std::move(fact), input_.sequence);
}

void Turn::tell_uplink(const sm::UplinkInput& input) {
  const UplinkLife before = state_.uplink;
  const auto step = sm::step(before, input, sm::UplinkContext{context(), state_.settings.uplink});
  if (step.verdict == sm::Verdict::kIgnored) return;
  if (step.verdict == sm::Verdict::kRejected) {
    reject("Uplink", "uplink", name_of(before.state), step.trigger, "not possible in this state");
    return;
  }
  UplinkTransitioned fact;
  fact.from = before.state;
  fact.to = step.next.state;
  fact.trigger = step.trigger;
  fact.effects = step.effects;
  fact.life = step.next;
  decide(std::move(fact), input_.sequence);
}

void Turn::settle() {
  for (int round = 0; !settled_ && round < kMaxRounds; ++round) {
    const Document* document = state_.in_force();
    if (!document) return;
    const std::size_t before = decisions_.size();
    settled_ = plan_once(document->deployment);
    if (decisions_.size() == before) return;
    settled_ = false;
  }
}

bool Turn::plan_once(const Deployment& wanted) {
  Survey seen = survey(wanted, state_);
  bool told = seen.differs;
  if (seen.differs) {
    for (const auto& step : plan(wanted, state_)) tell(step.module, step.wanted, deployment_decision_);
    seen = survey(wanted, state_);
  }
  if (seen.turn_due) {
    told = true;
    for (const auto& name : granted_turns(wanted, state_)) tell(name, sm::TurnGranted{});
    seen = survey(wanted, state_);
  }
  const auto now = state_.deployment.state;
  const bool applying = now == DeploymentState::kApplying || now == DeploymentState::kRollingBack ||
                        now == DeploymentState::kFailed;
  if (seen.converged && applying) {
    told = true;  // may be heard when it has been so for long enough
    tell_deployment(sm::Converged{});
  }
  // Whether this is heard depends on the deployment's life alone.
  if (!seen.converged && (!applying || state_.deployment.healthy_since_mono_ns != 0))
    tell_deployment(sm::Diverged{});
  return !told;
}

Sequence Turn::decide(Fact fact, Sequence cause) {
  const Sequence sequence = decisions_.empty() ? input_.sequence.next() : decisions_.back().sequence.next();
  Envelope& event = decisions_.emplace_back();
  event.sequence = sequence;
  event.stream = stream_of(fact);
  event.time = input_.time;
  event.boot = input_.boot;
  event.clock = input_.clock;
  event.cause = cause;
  event.build = input_.build;
  event.actor = input_.actor;
  event.fact = std::move(fact);
  take_in(event);
  if (state_.deployment.version != 0)
    event.correlation = Correlation("deployment/" + std::to_string(state_.deployment.version));
  return sequence;
}

void Turn::reject(std::string machine, std::string subject, std::string in_state, std::string_view input,
                  std::string why) {
  decide(InputRejected{std::move(machine), std::move(subject), std::move(in_state), std::string(input),
                       std::move(why)},
         input_.sequence);
}

}  // namespace decklog::agent
