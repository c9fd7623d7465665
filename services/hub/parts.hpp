// What the rooms of the hub agree on. Thread: everything on the hub's one executor; no call blocks, no
// callback runs inside the call that takes it unless it says so.
//
//   clients -> broker -> Head (IoT Hub topics, identities, twins, methods) -> Forwarder (routes, store) ->
//   modules, uplink
//
// Owner of all parts: Hub (hub.hpp). Each part gets the others it needs as references.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/event.hpp"
#include "events/instant.hpp"
#include "events/result.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::hub {

// Who sent it: device, and module or "" for a leaf device (or the device itself).
struct Identity {
  std::string device;
  std::string module;
  friend auto operator<=>(const Identity&, const Identity&) = default;
  std::string client_id() const { return module.empty() ? device : device + "/" + module; }
};
// The identity behind "device" or "device/module"; what Identity::client_id() gives.
inline Identity identity_of(std::string_view client_id) {
  const auto slash = client_id.find('/');
  Identity client{std::string(client_id.substr(0, slash)), {}};
  if (slash != std::string_view::npos) client.module = client_id.substr(slash + 1);
  return client;
}

using Properties = std::vector<std::pair<std::string, std::string>>;

// A message as a client gave it, decoded; properties in the order sent, system ones under their wire names
// ("$.mid").
struct Ingest {
  Identity sender;
  std::string output;     // $.on; empty = none
  Properties properties;  // without $.on, $.cdid, $.cmid
  std::string body;
  bool twin_change = false;  // source /twinChangeNotifications
};

// Routing and store-and-forward. Implemented by Forwarder.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // Takes a message. `done(true)` once every copy that a route asks for is durable (at once when no route
  // matches: the drop is counted); `done(false)` when it cannot be stored: the client must send again.
  virtual void accept(Ingest message, std::function<void(bool)> done) = 0;
  // $edgeHub's desired document; a bad route is refused by name, the others work. Gives what
  // lastDesiredStatus says.
  struct Configured {
    int code = 200;
    std::string description;
  };
  virtual Configured configure(const std::string& desired_json, std::uint64_t version) = 0;
  // A module connected, subscribed to its inputs, or a delivery of ours ended (see Broker::deliver).
  virtual void on_client_ready(const Identity& client) = 0;
  virtual void on_delivered(std::uint64_t token, bool acknowledged) = 0;
  virtual void on_link(bool up) = 0;
};

// IoT Hub's head over the broker. Implemented by Head (a BrokerPolicy).
class ClientSide {
 public:
  virtual ~ClientSide() = default;
  // Sends to a module's input through its subscription. False = not connected or not subscribed now.
  virtual bool deliver_input(const Identity& module, std::string_view input, const Ingest& message,
                             std::uint64_t token) = 0;
  virtual bool connected(const Identity& client) const = 0;
  // From the uplink.
  virtual void on_desired(const uplink::TwinKey& key, const uplink::TwinValue& value) = 0;
  virtual void on_identity(const uplink::TwinKey& key, const std::string& json) = 0;
  virtual void on_method(const uplink::MethodCall& call) = 0;
  virtual void on_cloud_message(const uplink::CloudMessage& message) = 0;
  virtual void on_link(bool up) = 0;
  // Connected clients for the reported document and `decklog clients`.
  struct ClientLine {
    Identity client;
    bool connected = false;
    std::string peer;
    std::vector<std::string> subscriptions;
  };
  virtual std::vector<ClientLine> clients() const = 0;
};

// The hub's log. Implemented over ServiceLoop and HubCore.
class HubLog {
 public:
  virtual ~HubLog() = default;
  // An input about one client; the ClientSession machine decides.
  virtual void observe(const std::string& client, std::string observation, std::string cause,
                       std::string peer, std::string detail) = 0;
  // What is worth finding later: a route refused, messages dropped, an identity re-keyed.
  virtual void note(Fact fact) = 0;
  // True while this identity reconnects too often and should be told to come back later (CONNACK 3).
  virtual bool storming(const std::string& client) const = 0;
};

}  // namespace decklog::hub
