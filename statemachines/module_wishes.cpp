// ModuleLifecycle's rows for what is wanted, made into a machine.
#include "statemachines/module_table.hpp"
#include "statemachines/run_once.hpp"

namespace decklog::statemachines::module {

template <class Input>
Outcome take(ModuleRun& run, const Input& input) {
  return run_once<WishRows, States>(run.life.state, input, run);
}

template Outcome take(ModuleRun&, const ModuleWanted&);
template Outcome take(ModuleRun&, const TurnGranted&);
template Outcome take(ModuleRun&, const TurnRevoked&);
template Outcome take(ModuleRun&, const OperatorRestart&);
template Outcome take(ModuleRun&, const OperatorStop&);
template Outcome take(ModuleRun&, const OperatorStart&);
template Outcome take(ModuleRun&, const EngineGone&);
template Outcome take(ModuleRun&, const EngineBack&);
template Outcome take(ModuleRun&, const DeviceRebooted&);

}  // namespace decklog::statemachines::module
