// One input's way through the core: what it means, which machines step, what the planner adds, until nothing
// moves. Private to services/agent. Lives for one input.
#pragma once

#include <optional>
#include <vector>

#include "services/agent/planner.hpp"
#include "services/agent/state.hpp"
#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::agent {

// WorkFinished::detail when the work failed because the runtime itself was not there.
inline constexpr std::string_view kEngineAway = "engine";

class Turn {
 public:
  // `settled`: planning for `state` would say nothing, now or later, until something changes that it looks
  // at. The turn keeps it true to its name. Only a saving: a turn that begins with false decides the same.
  Turn(AgentState& state, bool& settled, const Envelope& input);

  void run();
  std::vector<Envelope> take_decisions() { return std::move(decisions_); }

 private:
  // What each input means to the machines.
  void on(const ServiceStarted&);
  void on(const DesiredReceived&);
  void on(const ModuleObserved&);
  void on(const ModulesListed&);
  void on(const EngineObserved&);
  void on(const WorkFinished&);
  void on(const ProbeFinished&);
  void on(const OperatorCommanded&);
  void on(const TimerFired&);
  void on(const LinkObserved&);
  template <class Other>
  void on(const Other&) {}

  // One step of one machine; its decision is recorded and folded at once.
  void tell(const ModuleName& name, const statemachines::ModuleInput& input, Sequence cause = {});
  void tell_deployment(const statemachines::DeploymentInput& input, std::vector<std::string> plan = {});
  void tell_uplink(const statemachines::UplinkInput& input);

  // Plans and grants turns until nothing more follows, then looks whether the deployment converged.
  void settle();
  // One round of it. True when nobody was told anything that might be heard another time.
  bool plan_once(const Deployment& wanted);
  // Folds an event of this turn.
  void take_in(const Envelope& event);
  void tell_health(const ModuleName& name, const ModuleObserved& seen);

  Sequence decide(Fact fact, Sequence cause);
  void reject(std::string machine, std::string subject, std::string in_state, std::string_view input,
              std::string why);
  statemachines::Context context();
  bool engine_there(const DesiredModule& module) const;

  AgentState& state_;
  bool& settled_;
  const Envelope& input_;
  BootId boot_before_;
  std::vector<Envelope> decisions_;
  Sequence deployment_decision_;
  std::uint64_t draws_ = 0;
};

}  // namespace decklog::agent
