// ModuleLifecycle's rows for how work ended, what probes say, the timer, made into a machine.
#include "statemachines/module_table.hpp"
#include "statemachines/run_once.hpp"

namespace decklog::statemachines::module {

template <class Input>
Outcome take(ModuleRun& run, const Input& input) {
  return run_once<WorkRows, States>(run.life.state, input, run);
}

template Outcome take(ModuleRun&, const PullSucceeded&);
template Outcome take(ModuleRun&, const PullFailed&);
template Outcome take(ModuleRun&, const DigestRejected&);
template Outcome take(ModuleRun&, const CreateSucceeded&);
template Outcome take(ModuleRun&, const CreateFailed&);
template Outcome take(ModuleRun&, const StartSucceeded&);
template Outcome take(ModuleRun&, const StartFailed&);
template Outcome take(ModuleRun&, const StopSucceeded&);
template Outcome take(ModuleRun&, const StopFailed&);
template Outcome take(ModuleRun&, const RemoveSucceeded&);
template Outcome take(ModuleRun&, const RemoveFailed&);
template Outcome take(ModuleRun&, const HealthPassed&);
template Outcome take(ModuleRun&, const HealthFailed&);
template Outcome take(ModuleRun&, const ModuleTimerFired&);

}  // namespace decklog::statemachines::module
