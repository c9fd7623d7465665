#include "services/agent/core.hpp"

#include <algorithm>

#include "services/agent/turn.hpp"

namespace decklog::agent {

namespace sm = statemachines;
using runtime::Health;
using runtime::Presence;

std::vector<Envelope> AgentCore::take(const Envelope& input) {
  Turn turn(state_, settled_, input);
  turn.run();
  return turn.take_decisions();
}

namespace {

// A run may be over before its start is answered: what was seen of its end then had no row to take.
bool shows_missed_end(const ModuleLife& life, const ModuleObserved& fact) {
  const auto presence = static_cast<Presence>(fact.presence);
  return (life.state == ModuleState::kRunning || life.state == ModuleState::kUnhealthy) &&
         (presence == Presence::kExited || presence == Presence::kDead);
}

bool observation_matters(const AgentState& state, const ModuleObserved& fact) {
  const auto found = state.modules.find(fact.module);
  if (found != state.modules.end()) {
    const ModuleRecord& module = found->second;
    // Out of sight, the same as before is news too.
    return module.life.blind || !(module.observed == fact) || shows_missed_end(module.life, fact);
  }
  // Nothing is touched that we could not make again: strangers count only once a deployment is in force.
  return state.in_force() != nullptr && static_cast<Presence>(fact.presence) != Presence::kAbsent;
}

bool listing_matters(const AgentState& state, const ModulesListed& fact) {
  return std::any_of(state.modules.begin(), state.modules.end(), [&](const auto& entry) {
    const ModuleRecord& module = entry.second;
    return module.runtime == fact.runtime && (module.life.exists || module.life.blind) &&
           std::find(fact.modules.begin(), fact.modules.end(), entry.first.value) == fact.modules.end();
  });
}

bool probe_matters(const AgentState& state, const ProbeFinished& fact) {
  const auto found = state.modules.find(fact.module);
  if (found == state.modules.end()) return false;
  const ModuleRecord& module = found->second;
  const bool steady = module.life.state == ModuleState::kRunning && module.life.healthy_since_mono_ns != 0 &&
                      module.probe_failures == 0;
  return !(fact.passed && steady && (fact.probe != "startup" || module.startup_passed));
}

}  // namespace

bool AgentCore::matters(const Fact& input) const {
  if (const auto* fact = std::get_if<ModuleObserved>(&input)) return observation_matters(state_, *fact);
  if (const auto* fact = std::get_if<ModulesListed>(&input)) return listing_matters(state_, *fact);
  if (const auto* fact = std::get_if<ProbeFinished>(&input)) return probe_matters(state_, *fact);
  if (const auto* fact = std::get_if<EngineObserved>(&input)) {
    const auto found = state_.engines.find(fact->runtime);
    return found == state_.engines.end() || found->second != fact->available;
  }
  if (const auto* fact = std::get_if<LinkObserved>(&input)) {
    const bool ping_answer = fact->change == 0 && fact->cause == 0;
    return !ping_answer || state_.uplink.missed_pings > 0 || state_.uplink.state != UplinkState::kConnected;
  }
  return true;
}

std::vector<std::string> AgentCore::dry_run(const Deployment& deployment) const {
  std::vector<std::string> lines;
  for (const auto& step : plan(deployment, state_)) lines.push_back(describe(step));
  return lines;
}

}  // namespace decklog::agent
