// The fleet's side of the uplink, for operators and demos.
#include "services/cli/cli.hpp"

namespace decklog::cli {

void add_fleet_verbs(CLI::App&, Session&) {}

}  // namespace decklog::cli
