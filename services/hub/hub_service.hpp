// The hub as a process: runs until SIGTERM or SIGINT. Management API on its unix socket: GET /v1/clients,
// /v1/queues; /metrics, /healthz and /readyz on hub.metrics when set.
#pragma once

#include "services/config/config.hpp"

namespace decklog::hub {

// Exit status: 0 = ended in order, 1 = could not start (said on stderr).
int run_hub(const config::Config& config);

}  // namespace decklog::hub
