// The streams and buckets of a fleet, and how init makes them. The asking is the caller's; nothing here
// connects.
#pragma once

#include <functional>
#include <vector>

#include "services/fleet/fleet.hpp"

namespace decklog::fleet {

using Ask = std::function<Result<uplink::NatsMessage>(const uplink::NatsMessage&)>;
Result<std::vector<InitStep>> init_streams(const InitOptions& options, const Ask& ask);

}  // namespace decklog::fleet
