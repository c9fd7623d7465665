// The MQTT 3.1.1 server: listeners, connections, sessions, delivery. Protocol rules are in services/mqtt; who
// may do what is the BrokerPolicy's; what survives is the SessionStore's. Owner: the hub; policy and store
// outlive it. Thread: everything on the given io_context, run by one thread. Failure: open() says which
// listener could not be opened; a failing client never disturbs another one. Limits: BrokerLimits, each with
// its unit; reaching one is counted in BrokerStats and has the stated answer.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "events/instant.hpp"
#include "services/broker/policy.hpp"
#include "services/broker/session_store.hpp"
#include "services/broker/tls_context.hpp"
#include "services/mqtt/outbox.hpp"
#include "services/mqtt/retained.hpp"

namespace decklog::broker {

struct ListenerOptions final {
  std::string name;  // for logs and the policy, e.g. "mqtts"
  Transport transport = Transport::kTcp;
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;           // 0 = any free one, see Broker::port()
  std::shared_ptr<TlsContext> tls;  // kTls, kSecureWebSocket
};

struct BrokerLimits final {
  std::uint32_t max_connections = 10'000;  // beyond: accepted and closed at once
  std::uint32_t max_half_open = 1'024;     // before CONNECT is complete; beyond: the oldest of them is closed
  std::uint32_t max_packet_bytes = 1u << 20;           // beyond: the connection is closed
  std::uint32_t max_connect_bytes = 64u << 10;         // same, before the client is known
  std::uint32_t max_subscriptions_per_client = 1'000;  // beyond: SUBACK 0x80
  std::uint32_t max_offline_sessions = 100'000;        // beyond: CONNACK 3 for a new persistent session
  std::uint32_t max_unacknowledged_publishes =
      1'024;                                // per client; beyond: its socket is not read for a while
  std::size_t max_output_bytes = 1u << 20;  // per client; beyond: QoS 0 for it is dropped, QoS 1 and 2 wait
  mqtt::Outbox::Limits outbox;              // per client; clean sessions: beyond, messages are dropped
  mqtt::RetainedMessages::Limits retained;
  Duration connect_deadline = std::chrono::seconds(15);   // TCP accept to the end of CONNECT
  Duration linger_deadline = std::chrono::seconds(5);     // our shutdown to the peer's FIN
  Duration session_expiry = std::chrono::hours(24 * 14);  // a persistent session nobody came back to
};

enum class AckWhen : std::uint8_t {
  kDurable = 1,  // PUBACK and PUBREC when the store says so
  kAtOnce = 2,   // durability "none": at once; the store still gets everything
};

struct BrokerOptions final {
  std::vector<ListenerOptions> listeners;
  BrokerLimits limits;
  AckWhen ack_when = AckWhen::kDurable;
};

// Counters since start, gauges as of now.
struct BrokerStats final {
  std::uint64_t connections = 0, half_open = 0, sessions = 0, subscriptions = 0, retained = 0;
  std::uint64_t accepted = 0, refused_full = 0, half_open_evicted = 0, connects_refused = 0,
                protocol_errors = 0;
  std::uint64_t keep_alive_timeouts = 0, takeovers = 0;
  std::uint64_t received[3] = {0, 0, 0};  // PUBLISH by QoS
  std::uint64_t delivered[2] = {0, 0};  // handed to a connection: at QoS 0; at QoS 1 and 2, repeats included
  std::uint64_t dropped_slow_qos0 = 0, dropped_full_qos1 = 0, dropped_denied = 0, dropped_retained_full = 0;
  std::uint64_t store_refused = 0, store_failed = 0;
};

enum class DeliverResult : std::uint8_t { kQueued = 1, kNotConnected = 2, kNotSubscribed = 3, kFull = 4 };

struct Delivery final {
  std::string_view topic;
  std::string_view payload;
  mqtt::Qos qos = mqtt::Qos::kAtLeastOnce;
  std::uint64_t token = 0;  // not 0: on_delivered() tells how it ended
};

class Engine;

class Broker final {
 public:
  Broker(boost::asio::io_context& context, BrokerOptions options, BrokerPolicy& policy, SessionStore& store);
  ~Broker();  // hard stop: sockets are closed; use close() first
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Loads sessions and retained messages, opens the listeners, begins to accept.
  Status open();
  // Stops accepting, lets every client go (no wills, sessions stay), calls `done` when all are gone or the
  // linger deadline has passed.
  void close(std::function<void()> done);
  std::uint16_t port(std::string_view listener) const;  // 0 = no such listener

  // To one client, through a subscription it holds, at the lower of the two QoS. Never stored: at QoS 1 it
  // stays in the session until acknowledged, also over a reconnect, and ends with on_delivered().
  DeliverResult deliver(std::string_view client_id, const Delivery& delivery);
  // Takes back a delivery that was not sent on the connection that is there; no on_delivered() for it.
  bool withdraw(std::string_view client_id, std::uint64_t token);
  // To every subscriber, as if a client had published it.
  void publish(std::string_view topic, std::string_view payload, mqtt::Qos qos, bool retain);

  bool is_connected(std::string_view client_id) const;
  bool holds_subscription(std::string_view client_id, std::string_view topic) const;
  // Ends the client's connection; "disabled", "re-keyed", "operator". The session stays unless asked
  // otherwise.
  enum class SessionFate : std::uint8_t { kKeep, kRemove };
  void disconnect(std::string_view client_id, std::string_view cause, SessionFate fate);

  BrokerStats stats() const;

 private:
  std::shared_ptr<Engine> engine_;
};

}  // namespace decklog::broker
