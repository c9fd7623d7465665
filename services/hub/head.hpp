// IoT Hub's head over the broker: who may connect, what topics mean, twins, methods, messages in and out.
// Owner: Hub. Thread: the executor's; no call blocks. Failure: a client that breaks a rule is refused, closed
// or answered with an error of the protocol, and nobody else notices; the log hears of it once per burst.
// Limits: head_limits.hpp. Parts: Identities (credentials), Twins, Methods; each is told what it needs and
// knows nothing of the others. Protocol facts: IoT Hub's MQTT interface as azure-iot-device 1.18 uses it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <string>

#include "observability/histogram.hpp"
#include "observability/series.hpp"
#include "persistence/identity_store.hpp"
#include "persistence/tally_store.hpp"
#include "persistence/twin_store.hpp"
#include "services/broker/broker.hpp"
#include "services/config/config.hpp"
#include "services/hub/parts.hpp"
#include "services/loop/clock.hpp"
#include "services/workload/identities.hpp"

namespace decklog::hub {

struct HeadParts {
  boost::asio::any_io_executor executor;
  const config::Config& config;
  loop::Surroundings& surroundings;
  uplink::Uplink& uplink;
  MessageSink& sink;
  HubLog& log;
  persistence::TwinStore& twins;
  persistence::IdentityStore& identities;    // what the fleet said last
  persistence::TallyStore& tries;            // of cloud-to-device messages
  const workload::LocalIdentities& modules;  // this device's own modules, from the agent
};

// Counters since start. Ids are client ids; nothing is counted by what an unknown client called itself.
struct HeadStats {
  struct Client {
    std::uint64_t connects = 0, connects_refused = 0, disconnects = 0;
  };
  observability::Series<1, Client> clients;
  observability::Series<2, std::uint64_t, 1> connect_failed;                         // (cause, id or "")
  observability::Series<2, observability::Seconds, 1> get_twin, reported;            // (source or target, id)
  observability::Series<2, observability::Seconds> methods;                          // (from, to)
  observability::Series<1, std::uint64_t, 1> refused_publishes, refused_subscribes;  // by why
  observability::Series<2, std::uint64_t, 1> retries;                                // (operation, id)
  std::uint64_t malformed = 0;  // telemetry that could not be read
  std::size_t connected = 0;
};

class Head final : public ClientSide, public broker::BrokerPolicy {
 public:
  explicit Head(HeadParts parts);
  ~Head() override;

  void attach(broker::Broker& broker);  // before Broker::open()
  void tick();                          // every second, and when the own modules' identities changed
  const HeadStats& stats() const;

  // ClientSide
  bool deliver_input(const Identity& module, std::string_view input, const Ingest& message,
                     std::uint64_t token) override;
  bool connected(const Identity& client) const override;
  void on_desired(const uplink::TwinKey& key, const uplink::TwinValue& value) override;
  void on_identity(const uplink::TwinKey& key, const std::string& json) override;
  void on_method(const uplink::MethodCall& call) override;
  void on_cloud_message(const uplink::CloudMessage& message) override;
  void on_link(bool up) override;
  std::vector<ClientLine> clients() const override;

  // BrokerPolicy
  void authenticate(broker::ConnectInfo info, std::function<void(broker::ConnectVerdict)> done) override;
  broker::PublishVerdict authorize_publish(const broker::Client& client, std::string_view topic,
                                           mqtt::Qos qos) override;
  std::uint8_t authorize_subscribe(const broker::Client& client, std::string_view filter,
                                   mqtt::Qos requested) override;
  void on_publish(const broker::Client& client, const mqtt::PublishPacket& packet,
                  broker::PublishDone done) override;
  void on_client(const broker::ClientEvent& event) override;
  void on_delivered(const broker::Client& client, std::uint64_t token, bool acknowledged) override;
  void on_trouble(std::string_view what) override;
  void on_http(broker::HttpRequest request, std::function<void(broker::HttpAnswer)> done) override;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // shared: what is asked of the fleet may be answered after us
};

}  // namespace decklog::hub
