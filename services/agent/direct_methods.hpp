// Direct methods of $edgeAgent, as Azure IoT Edge names them (case ignored): ping, RestartModule,
// GetModuleLogs. Unknown or bad ones are answered 400 {"message": ...}; other failures 500. Thread: the
// executor's.
#pragma once

#include <functional>

#include "services/agent/agent.hpp"

namespace decklog::agent {

// Largest log payload a method answers with, as upstream's limit demands.
inline constexpr std::size_t kMaxMethodLogBytes = 127'000;

void run_direct_method(Agent& agent, const uplink::MethodCall& call,
                       std::function<void(uplink::MethodAnswer)> answer);

}  // namespace decklog::agent
