// Verbs about routes and the hub.
#include "services/cli/cli.hpp"

namespace decklog::cli {

void add_hub_verbs(CLI::App&, Session&) {}

}  // namespace decklog::cli
