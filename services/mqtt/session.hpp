// The state the standard calls Session (4.1): subscriptions, both directions of QoS 1 and 2. A value: no
// socket, no clock. It outlives connections when the client asked for that (clean session 0) and is rebuilt
// from the store. Owner: the broker engine; one thread.
#pragma once

#include <boost/container/flat_set.hpp>
#include <vector>

#include "services/mqtt/outbox.hpp"
#include "services/mqtt/subscription_index.hpp"

namespace decklog::mqtt {

// Packet identifiers of QoS 2 messages received and not yet released (4.3.3): the second copy of one is not
// published again [MQTT-4.3.3-2]. At most 65,535 of two bytes.
class Inbox final {
 public:
  // True when the identifier is new: the message is to be published.
  bool begin(std::uint16_t packet_id) { return open_.insert(packet_id).second; }
  // PUBREL; true when it was open.
  bool end(std::uint16_t packet_id) { return open_.erase(packet_id) > 0; }
  std::size_t size() const { return open_.size(); }

 private:
  boost::container::flat_set<std::uint16_t> open_;
};

struct Session final {
  bool clean = true;
  std::vector<FilterId> filters;  // what the client holds in the subscription index
  Outbox outbox;
  Inbox inbox;
  std::uint64_t sent_through = 0;  // highest stored message sent to this client by this process

  bool holds(FilterId filter) const {
    for (const auto held : filters) {
      if (held == filter) return true;
    }
    return false;
  }
  void drop(FilterId filter) { std::erase(filters, filter); }
};

}  // namespace decklog::mqtt
