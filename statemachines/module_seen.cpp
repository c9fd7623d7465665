// ModuleLifecycle's rows for what the runtime shows, made into a machine.
#include "statemachines/module_table.hpp"
#include "statemachines/run_once.hpp"

namespace decklog::statemachines::module {

template <class Input>
Outcome take(ModuleRun& run, const Input& input) {
  return run_once<SeenRows, States>(run.life.state, input, run);
}

template Outcome take(ModuleRun&, const SeenRunning&);
template Outcome take(ModuleRun&, const SeenExited&);
template Outcome take(ModuleRun&, const SeenCreated&);
template Outcome take(ModuleRun&, const SeenAbsent&);

}  // namespace decklog::statemachines::module
