// A deployment that was accepted before, from the log or the vault.
#pragma once

#include "services/agent/deployment.hpp"

namespace decklog::agent {

// Reads it as it was read then: a rule that parse_deployment() got later must not take a device what it runs.
Result<Deployment> parse_stored_deployment(std::string_view document);

}  // namespace decklog::agent
