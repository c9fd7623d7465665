// One step of ClientSession.
#include "statemachines/client_machine.hpp"

#include "statemachines/client_table.hpp"
#include "statemachines/run_once.hpp"

namespace decklog::statemachines {

Step<ClientLife> client::step_traced(const ClientLife& life, const ClientInput& input,
                                     const ClientContext& context, RowTrace& trace) {
  return step_once<client::Table, Step<ClientLife>, client::Run>(life, input, context, trace);
}

Step<ClientLife> step(const ClientLife& life, const ClientInput& input, const ClientContext& context) {
  RowTrace unread;
  return client::step_traced(life, input, context, unread);
}

std::string client_diagram() {
  return mermaid<client::Table::Rows, client::Closed>();
}
std::string client_refusals() {
  return refusal_list<client::Table::States, client::Table::Inputs>(client::Table::kPairs);
}

}  // namespace decklog::statemachines
