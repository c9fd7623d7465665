// A broker alone, for development: anonymous, plaintext, on loopback, data in place. `decklog hub --broker
// PORT`. Everything is allowed except `$`-topics to publish to, and filters below the prefixes in
// `refused_filters`. Blocks until SIGTERM or SIGINT; then clients are let go, the store is committed, and it
// returns.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "events/result.hpp"
#include "persistence/message_store_types.hpp"

namespace decklog::broker {

struct DevelopmentBrokerOptions final {
  std::uint16_t port = 1883;          // 0 = any free one
  std::uint16_t web_socket_port = 0;  // 0 = none
  std::string address = "127.0.0.1";  // must be a loopback address
  std::string data_directory;         // empty = keep nothing
  persistence::Durability durability = persistence::Durability::kPower;
  bool wait_for_durable = true;              // false = durability "none": acknowledge at once
  std::vector<std::string> refused_filters;  // SUBACK 0x80 for a filter that begins with one of these
  // Called once when the listeners accept, with their ports.
  std::function<void(std::uint16_t port, std::uint16_t web_socket_port)> on_ready;
};

Status run_broker(const DevelopmentBrokerOptions& options);

}  // namespace decklog::broker
