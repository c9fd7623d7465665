// The planner: compares what is wanted with what is, module by module, and says what to tell each machine.
// Pure: the same state gives the same plan, live, in `decklog plan` and in replay. Level-triggered: it never
// remembers.
#pragma once

#include <string>
#include <vector>

#include "services/agent/state.hpp"

namespace decklog::agent {

enum class PlanAction : std::uint8_t {
  kCreate = 1,
  kReplace = 2,
  kAdjust = 3,
  kStart = 4,
  kStop = 5,
  kRemove = 6
};
const char* to_string(PlanAction action);

struct PlanStep {
  ModuleName module;
  PlanAction action = PlanAction::kCreate;
  std::string why;                     // "image reg/a:1 -> reg/a:2"
  statemachines::ModuleWanted wanted;  // what the machine is told
};

// Steps that bring `state` to `deployment`, in startup order; removals first. Empty = nothing to do.
std::vector<PlanStep> plan(const Deployment& deployment, const AgentState& state);
std::string describe(const PlanStep& step);

// What a turn of the core has to know, found in one walk over both lists and without words.
struct Survey {
  bool differs = false;    // plan() has steps
  bool turn_due = false;   // granted_turns() names somebody
  bool converged = false;  // every wanted module is as wanted, and nothing else is left
};
Survey survey(const Deployment& deployment, const AgentState& state);

// Modules whose turn in the startup order has come and who have not been told. A module waits for those of a
// lower order until they run (are healthy, when they have a probe), rest, or have failed once: a broken
// module delays others, it never keeps them down for good.
std::vector<ModuleName> granted_turns(const Deployment& deployment, const AgentState& state);

}  // namespace decklog::agent
