// Who may do what on the broker, and who wants to know: implemented by the hub (IoT Hub head, local topic
// rules) and by the development broker. The engine owns connections, sessions and delivery; the policy owns
// meaning. Thread: every call is on the engine's executor. Views are valid during the call only. A policy may
// call back into the Broker from inside any of these.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "events/instant.hpp"
#include "services/mqtt/packet.hpp"

namespace decklog::broker {

enum class Transport : std::uint8_t { kTcp = 1, kTls = 2, kWebSocket = 3, kSecureWebSocket = 4 };

// What the TLS layer saw of the client. Empty thumbprints = no certificate.
struct PeerCertificate final {
  std::string subject_common_name;
  std::string sha1_thumbprint;     // upper-case hex
  std::string sha256_thumbprint;   // upper-case hex
  WallTime not_before, not_after;  // for the policy to look at: a self-signed one is verified by nobody else
  std::string uri;                 // first URI among the alternative names; says what it was issued for
  bool chain_verified = false;     // up to a CA of the listener's client_ca; false for self-signed ones
};

struct ConnectInfo final {
  std::string client_id;  // as sent, or made up by the broker when it was empty
  std::optional<std::string> username;
  std::optional<std::string> password;  // secret: never logged
  bool clean_session = true;
  std::uint16_t keep_alive_s = 0;
  std::string listener;  // ListenerOptions::name
  Transport transport = Transport::kTcp;
  std::string peer;  // "127.0.0.1:40322"
  PeerCertificate certificate;
};

struct ConnectVerdict final {
  mqtt::ConnectCode code = mqtt::ConnectCode::kNotAuthorized;
  std::string identity;  // accepted: who it is from now on; owner of its session
  std::string cause;     // refused: for the journal, e.g. "bad-token"; no secrets
  bool accepted() const { return code == mqtt::ConnectCode::kAccepted; }
};

// An accepted client. `id` is never used twice.
struct Client final {
  std::uint64_t id = 0;
  std::string client_id;
  std::string identity;
};

enum class PublishVerdict : std::uint8_t {
  kRoute = 1,      // to subscribers, by topic
  kIntercept = 2,  // to BrokerPolicy::on_publish; nobody else gets it
  kDrop = 3,       // acknowledged and thrown away, counted: 3.1.1 has no other way to refuse politely
  kClose = 4,      // the connection is closed
};

// Completes an intercepted PUBLISH: PUBACK or PUBREC goes out when it is called with success, in the order of
// the publishes; on failure the connection is closed, so that the client sends it again. For QoS 0 a success
// does nothing. May be called at once or much later; the connection may be gone by then.
using PublishDone = std::function<void(bool accepted)>;

enum class ClientChange : std::uint8_t {
  kConnected = 1,     // detail: "session-present" or "session-new"
  kDisconnected = 2,  // detail: cause, see DisconnectCause
  kSubscribed = 3,    // detail: filter
  kUnsubscribed = 4,  // detail: filter
  kSessionEnded = 5,  // detail: "clean", "expired", "removed"
  kRefused = 6,       // detail: cause; client.id is 0
};

struct ClientEvent final {
  ClientChange change = ClientChange::kConnected;
  const Client& client;
  std::string_view detail;
  std::string_view peer;
  mqtt::Qos qos = mqtt::Qos::kAtMostOnce;  // kSubscribed: granted
  bool session_kept = false;               // kConnected, kDisconnected: clean session 0
};

struct HttpRequest final {
  std::string method;
  std::string target;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string listener;
  std::string peer;
  PeerCertificate certificate;
};
struct HttpAnswer final {
  unsigned status = 404;
  std::string content_type = "application/json";
  std::string body = "{\"message\":\"not found\"}";
};

class BrokerPolicy {
 public:
  virtual ~BrokerPolicy() = default;

  // `done` at once or later; exactly once. The client's further packets wait.
  virtual void authenticate(ConnectInfo info, std::function<void(ConnectVerdict)> done) = 0;
  // Asked for every PUBLISH and for a will when it fires; the last answer for a topic may be reused while
  // connected.
  virtual PublishVerdict authorize_publish(const Client& client, std::string_view topic, mqtt::Qos qos) = 0;
  // Granted QoS 0, 1, 2, or mqtt::kSubscribeRefused. Asked again when a stored session comes back.
  virtual std::uint8_t authorize_subscribe(const Client& client, std::string_view filter,
                                           mqtt::Qos requested) = 0;
  virtual void on_publish(const Client& client, const mqtt::PublishPacket& packet, PublishDone done) = 0;
  virtual void on_client(const ClientEvent& event) = 0;
  // A delivery with a token is over: acknowledged by the client, or given up (session ended).
  virtual void on_delivered(const Client& client, std::uint64_t token, bool acknowledged) = 0;
  // A bound was reached or the store refused; for the log. At most once a second for each kind.
  virtual void on_trouble(std::string_view what) { (void)what; }
  // Plain HTTPS on a WebSocket listener. `done` at once or later, exactly once.
  virtual void on_http(HttpRequest request, std::function<void(HttpAnswer)> done) { (void)request, done({}); }
};

}  // namespace decklog::broker
