// Inside of the Head: its parts, and what goes from one to the other. Private to services/hub.
// Thread: the executor's.
#pragma once

#include <boost/asio/post.hpp>
#include <optional>
#include <set>

#include "services/hub/cloud_mail.hpp"
#include "services/hub/head.hpp"
#include "services/hub/head_clients.hpp"
#include "services/hub/head_remarks.hpp"
#include "services/hub/identities.hpp"
#include "services/hub/methods.hpp"
#include "services/hub/session_log.hpp"
#include "services/hub/twins.hpp"

namespace decklog::hub {

class Head::Impl : public std::enable_shared_from_this<Head::Impl> {
 public:
  explicit Impl(HeadParts parts);
  void start();  // once a shared_ptr holds it

  void attach(broker::Broker& broker) { clients_.attach(broker); }
  void tick();
  const HeadStats& stats() const { return stats_; }

  // head_fleet.cpp: from the fleet and the forwarder
  bool deliver_input(const Identity& module, std::string_view input, const Ingest& message,
                     std::uint64_t token);
  bool connected(const Identity& client) const { return clients_.connected(here(client).client_id()); }
  void on_desired(const uplink::TwinKey& key, const uplink::TwinValue& value);
  void on_identity(const uplink::TwinKey& key, const std::string& json);
  void on_method(const uplink::MethodCall& call);
  void on_cloud_message(const uplink::CloudMessage& message) { mail_.on_message(message); }
  void on_link(bool up);
  std::vector<ClientLine> clients() const;
  void on_http(broker::HttpRequest request, std::function<void(broker::HttpAnswer)> done);

  // head_broker.cpp: from clients
  void authenticate(broker::ConnectInfo info, std::function<void(broker::ConnectVerdict)> done);
  broker::PublishVerdict authorize_publish(const broker::Client& client, std::string_view topic);
  std::uint8_t authorize_subscribe(const broker::Client& client, std::string_view filter,
                                   mqtt::Qos requested);
  void on_publish(const broker::Client& client, const mqtt::PublishPacket& packet, broker::PublishDone done);
  void on_client(const broker::ClientEvent& event);
  void on_delivered(std::uint64_t token, bool acknowledged);
  void on_trouble(std::string_view what) {
    remarks_.say("broker", std::string(what.substr(0, what.find(':'))), std::string(what));
  }

 private:
  // The device's own modules are named without the device by routes.
  Identity here(const Identity& client) const {
    return client.device.empty() ? Identity{parts_.config.device, client.module} : client;
  }
  ConnectedClient* find(const broker::Client& client);
  void admitted(const broker::ConnectInfo& info, Identities::Verdict verdict,
                const std::function<void(broker::ConnectVerdict)>& done);
  std::string present_peer(const std::string& client_id) const;
  void came(const broker::ClientEvent& event);
  void subscribed(const Identity& client);
  void went(const broker::ClientEvent& event);
  void call(MethodRequest request, Methods::Done done);
  void own_method(const uplink::MethodCall& call);
  void recheck(const std::string& device);

  HeadParts parts_;
  HeadStats stats_;
  Remarks remarks_;
  SessionLog log_;
  Clients clients_;
  Methods methods_;
  CloudMail mail_;
  std::optional<Twins> twins_;
  std::optional<Identities> identities_;
  workload::IdentityMap own_modules_;                                // as they were when last looked at
  std::map<std::string, std::pair<Identity, ShownProof>> arriving_;  // accepted, CONNACK not sent yet
  std::set<std::uint64_t> local_;                                    // local clients connected
};

}  // namespace decklog::hub
