// One step of ModuleLifecycle: the input's row, then the decision's.
#include "statemachines/module_table.hpp"
#include "statemachines/run_once.hpp"

namespace decklog::statemachines {

namespace module {

Outcome decide(ModuleRun& run) {
  return run_once<DecideRows, States>(run.life.state, Decide{}, run);
}

namespace {

// Reported upstream: anything of this that changes is worth a report.
bool looks_different(const ModuleLife& a, const ModuleLife& b) {
  return a.state != b.state || a.last_end != b.last_end || a.exit_code != b.exit_code ||
         a.exit_signal != b.exit_signal || a.restart_count != b.restart_count ||
         a.work_failures != b.work_failures || a.deadline_mono_ns != b.deadline_mono_ns ||
         a.blind != b.blind || a.refused_spec != b.refused_spec || a.current_spec != b.current_spec;
}

}  // namespace

ModuleStep step_traced(const ModuleLife& life, const ModuleInput& input, const ModuleContext& context,
                       RowTrace& trace) {
  ModuleStep result;
  std::visit(
      [&]<class Input>(const Input& fact) {
        result.trigger = type_name<Input>();
        ModuleRun run{life, &context, 0, ModuleReason::kNone, {}};
        const Outcome outcome = take(run, fact);
        if (outcome != Outcome::kTaken) {
          result.next = life;
          result.verdict = verdict_of(kPairs.at(life.state, mp::mp_find<Inputs, Input>::value),
                                      outcome == Outcome::kRefused, mp::mp_contains<Demands, Input>::value);
          return;
        }
        decide(run);
        result.verdict = Verdict::kTaken;
        result.effects = run.effects | (looks_different(life, run.life) ? kReport : 0u);
        result.reason = run.reason;
        result.next = run.life;
        trace = run.trace;
      },
      input);
  return result;
}

}  // namespace module

ModuleStep step(const ModuleLife& life, const ModuleInput& input, const ModuleContext& context) {
  RowTrace unread;
  return module::step_traced(life, input, context, unread);
}

}  // namespace decklog::statemachines
