// What the verbs of the fleet's side share.
#pragma once

#include <memory>
#include <string>

#include "services/cli/cli.hpp"
#include "services/fleet/fleet.hpp"

namespace decklog::cli {

// The fleet that the configuration's uplink leads to.
Result<std::unique_ptr<fleet::Fleet>> open_fleet(const config::Config& config);

void add_identity_verb(CLI::App& fleet, Session& session);  // fleet identity

}  // namespace decklog::cli
