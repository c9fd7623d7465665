// The IoT Hub identities at the broker right now, and the way to them. Private to services/hub. Thread: the
// executor's. A local user with a client id like an identity's is not one of them: nothing of an identity
// ever goes there.
#pragma once

#include <map>
#include <set>
#include <string>

#include "services/broker/broker.hpp"
#include "services/hub/identities.hpp"

namespace decklog::hub {

struct ConnectedClient {
  Identity identity;
  bool connected = false;
  std::string peer;
  ShownProof proof;
  std::set<std::string> subscriptions;
};

class Clients final {
 public:
  void attach(broker::Broker& broker) { broker_ = &broker; }
  broker::Broker* broker() const { return broker_; }
  std::map<std::string, ConnectedClient>& all() { return clients_; }
  const std::map<std::string, ConnectedClient>& all() const { return clients_; }

  bool connected(const std::string& client_id) const {
    const auto found = clients_.find(client_id);
    return found != clients_.end() && found->second.connected;
  }
  bool subscribed(const std::string& client_id, std::string_view topic) const {
    return broker_ && broker_->holds_subscription(client_id, topic);
  }
  // Sent or queued for the client; false when it is not there, not subscribed, or has no room.
  bool send(const std::string& client_id, std::string_view topic, std::string_view payload, mqtt::Qos qos,
            std::uint64_t token = 0) {
    if (!broker_ || !connected(client_id)) return false;
    sending_ = true;
    const auto result = broker_->deliver(client_id, {topic, payload, qos, token});
    sending_ = false;
    return result == broker::DeliverResult::kQueued;
  }
  // Inside send(): a delivery at QoS 0 is over before it returns.
  bool sending() const { return sending_; }

 private:
  broker::Broker* broker_ = nullptr;
  bool sending_ = false;
  std::map<std::string, ConnectedClient> clients_;
};

}  // namespace decklog::hub
