// One step of Uplink.
#include "statemachines/uplink_machine.hpp"

#include "statemachines/run_once.hpp"
#include "statemachines/uplink_table.hpp"

namespace decklog::statemachines {

Step<UplinkLife> uplink::step_traced(const UplinkLife& life, const UplinkInput& input,
                                     const UplinkContext& context, RowTrace& trace) {
  return step_once<uplink::Table, Step<UplinkLife>, uplink::Run>(life, input, context, trace);
}

Step<UplinkLife> step(const UplinkLife& life, const UplinkInput& input, const UplinkContext& context) {
  RowTrace unread;
  return uplink::step_traced(life, input, context, unread);
}

std::string uplink_diagram() {
  return mermaid<uplink::Table::Rows, uplink::Disconnected>();
}
std::string uplink_refusals() {
  return refusal_list<uplink::Table::States, uplink::Table::Inputs>(uplink::Table::kPairs);
}

}  // namespace decklog::statemachines
