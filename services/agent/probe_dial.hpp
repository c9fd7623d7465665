// One tcp or http health probe over the network. `done` runs once, within `timeout`, on the executor, never
// inline. Dropping the handle cancels it. Private to services/agent.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>

#include "events/result.hpp"
#include "services/agent/deployment.hpp"

namespace decklog::agent {

std::shared_ptr<void> dial(boost::asio::any_io_executor executor, const std::string& address,
                           const Probe& probe, std::function<void(Status)> done);

}  // namespace decklog::agent
