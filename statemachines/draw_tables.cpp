#include "statemachines/draw_tables.hpp"

#include "statemachines/client_machine.hpp"
#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::statemachines {

namespace {

std::string section(const std::string& name, const std::string& diagram, const std::string& refusals) {
  return "### " + name + "\n\n```mermaid\n" + diagram + "```\n\nPairs that no row takes:\n\n" + refusals +
         "\n";
}

}  // namespace

std::string all_tables_markdown() {
  return section("ModuleLifecycle", module_diagram(), module_refusals()) +
         section("Deployment", deployment_diagram(), deployment_refusals()) +
         section("Uplink", uplink_diagram(), uplink_refusals()) +
         section("ClientSession", client_diagram(), client_refusals());
}

}  // namespace decklog::statemachines
