// One connection to a nats-server, as plain values: the only door to nats.c, whose header stays in the .cpp.
//
// Threads: open(), publish(), subscribe(), request(), flush() and close() may block until their deadline and
// are called from a worker thread, one at a time. Handlers and events run on nats.c's threads: they post and
// return, and never call back in. After close() returned none of them runs any more. Reconnecting is switched
// off in nats.c: a connection that closes stays closed and says so once (on_closed). Name resolution has the
// resolver's own deadline on top. Failure: Result; details never hold credentials. Limits: the server's max
// payload.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

struct NatsOptions {
  std::vector<std::string> servers;  // "nats://host:4222", "tls://host:4222"
  std::string device;            // whose uplink: subjects, message ids and reply subjects are made from it
  std::string name = "decklog";  // shown by the server
  // At most one kind of credentials.
  std::string user;
  std::string password;
  std::string token;
  std::string credentials_file;  // .creds: JWT and NKey seed
  std::string nkey;              // public NKey, with nkey_seed_file
  std::string nkey_seed_file;
  // Given CA or certificate, or a tls:// address, means TLS is demanded.
  std::string tls_ca_file;
  std::string tls_certificate_file;
  std::string tls_key_file;
  std::string tls_host_name;  // expected in the certificate; empty = the host of the address
  Duration connect_timeout = std::chrono::seconds(5);
  Duration request_timeout = std::chrono::seconds(5);
  Duration write_timeout = std::chrono::seconds(5);  // a socket that takes nothing for so long is dead
  Duration heartbeat = std::chrono::seconds(10);     // of watches, both sides; three missed = set up anew
  Duration watch_retry = std::chrono::seconds(5);    // after a watch was refused
};

struct NatsMessage {
  std::string subject;
  std::string reply;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  int status = 0;  // of a server's own message (100, 404, 408, 409, 503), else 0

  const std::string* header(std::string_view name) const;
};

class NatsConnection final {
 public:
  struct Events {
    std::function<void(LinkCause, const std::string& detail)> on_closed;
    // The server refused a subject; the connection lives on.
    std::function<void(const std::string& subject, const std::string& detail)> on_denied;
  };
  struct Opened {
    std::shared_ptr<NatsConnection> connection;  // null = failed, with the cause
    LinkCause cause = LinkCause::kNone;
    std::string detail;
  };
  using Handler = std::function<void(NatsMessage)>;

  static Opened open(const NatsOptions& options, Events events);
  ~NatsConnection();
  NatsConnection(const NatsConnection&) = delete;
  NatsConnection& operator=(const NatsConnection&) = delete;

  // Gives the bytes to the connection's buffer; delivery is known only from a reply.
  Status publish(const NatsMessage& message);
  Result<std::uint64_t> subscribe(const std::string& subject, Handler handler);
  void unsubscribe(std::uint64_t subscription);
  // kUnavailable when nobody answers the subject; kTimeout.
  Result<NatsMessage> request(const NatsMessage& message, Duration timeout);
  Status flush(Duration timeout);
  void close();

 private:
  struct State;
  explicit NatsConnection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace decklog::uplink
