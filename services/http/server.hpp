// A small HTTP/1.1 server over unix sockets, TCP and TLS: management API, workload API, metrics, method
// endpoint.
//
// Owner: whoever answers; destroying the Server cuts every connection and calls no handler afterwards.
// Thread: one. Everything is called on, and calls back on, the executor given to the constructor, which one
// thread runs; a Responder or ResponseStream is used on that thread too and may outlive the Server (then it
// does nothing). Failure: listening returns a Status; after that, a bad peer gets a status (400, 408, 413,
// 431) or is cut, is counted, and disturbs nobody else. Limits: ServerLimits. At max_connections the longest
// idle connection makes room; when none is idle, new ones wait in the kernel's backlog. At max_requests,
// complete requests wait their turn.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "events/instant.hpp"
#include "services/http/message.hpp"

namespace decklog::http {

struct ServerLimits {
  std::size_t header_bytes = 16 * 1024;
  std::size_t body_bytes = 1024 * 1024;
  std::size_t max_connections = 64;
  std::size_t max_requests = 64;  // in a handler, or being answered, at the same time
  std::size_t stream_buffer_bytes =
      4 * 1024 * 1024;  // written to a ResponseStream, not yet taken by the peer
  Duration header_deadline = std::chrono::seconds(10);  // from accept to the end of the first header
  Duration body_deadline = std::chrono::seconds(30);
  Duration idle_deadline = std::chrono::seconds(60);  // from an answer to the end of the next header
  Duration write_deadline = std::chrono::seconds(30);
};

struct ServerCounters {
  std::uint64_t accepted = 0;
  std::uint64_t requests = 0;
  std::uint64_t refused = 0;  // answered 4xx by the server itself
  std::uint64_t timeouts = 0;
  std::uint64_t evicted_idle = 0;
  std::size_t connections = 0;  // now
};

// A response of unknown length, sent in chunks.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;
  // kClosed when the peer is gone or close() was called; kTooLarge when the buffer is full: nothing was
  // taken.
  virtual Status write(std::string bytes) = 0;
  // Ends the response after what was written. Letting go of the last reference does the same.
  virtual void close() = 0;
  virtual std::size_t buffered_bytes() const = 0;
  // Called once when the peer goes away before close() was answered.
  virtual void on_closed(std::function<void()> callback) = 0;
  // Called each time the buffer has become empty.
  virtual void on_drained(std::function<void()> callback) = 0;
};

class Exchange;

// Answers one request, once; what comes after the first answer is ignored. A request whose last Responder is
// dropped unanswered gets a 500.
class Responder {
 public:
  explicit Responder(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  void send(Response response) const;
  std::shared_ptr<ResponseStream> stream(int status, std::string content_type) const;

 private:
  std::shared_ptr<Exchange> exchange_;
};

using Handler = std::function<void(Request, Responder)>;

struct UnixAccess {
  std::uint32_t mode = 0600;
  std::optional<std::uint32_t> uid, gid;  // owner of the socket file, when not ours
};

struct TlsSettings {
  std::string certificate_chain_pem;  // leaf first
  std::string private_key_pem;
  std::string client_ca_pem;  // not empty: clients may show a certificate; one that does not verify is cut
};

class Server final {
 public:
  Server(boost::asio::any_io_executor executor, ServerLimits limits, Handler handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes the place of a socket file that nobody listens on. kAlreadyExists when somebody does.
  Status listen_unix(const std::string& path, const UnixAccess& access = {});
  // `address` is a literal; port 0 = any free one. Gives the port.
  Result<std::uint16_t> listen_tcp(const std::string& address, std::uint16_t port);
  Result<std::uint16_t> listen_tls(const std::string& address, std::uint16_t port, const TlsSettings& tls);
  // New connections to the TLS listeners use these; existing ones stay.
  Status replace_tls(const TlsSettings& tls);

  // Stops listening, closes idle connections, lets requests in flight end until `grace` is over, then calls
  // `done`.
  void close(Duration grace, std::function<void()> done);
  ServerCounters counters() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace decklog::http
