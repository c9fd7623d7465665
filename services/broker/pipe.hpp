// A non-blocking byte pipe to one peer: plain TCP, TLS, or WebSocket over either. The connection above it
// reads and writes until "wait", then asks to be called when it makes sense to try again. Owner: one
// connection. Thread: the engine's. A user is kept alive while a wait is pending; destroying the pipe cancels
// waits without a call.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "services/broker/policy.hpp"
#include "services/broker/tls_context.hpp"

namespace decklog::broker {

using Socket = boost::asio::ip::tcp::socket;

struct IoResult final {
  enum class Kind : std::uint8_t {
    kBytes,   // `bytes` were moved
    kWait,    // nothing now
    kEnd,     // the peer will send no more
    kFailed,  // the pipe is broken
  };
  Kind kind = Kind::kWait;
  std::size_t bytes = 0;
};

class PipeUser {
 public:
  virtual ~PipeUser() = default;
  virtual void on_readable() = 0;
  virtual void on_writable() = 0;
};

class Pipe {
 public:
  virtual ~Pipe() = default;
  virtual IoResult read(char* to, std::size_t size) = 0;
  virtual IoResult write(const char* from, std::size_t size) = 0;
  virtual void wait_for_read(std::shared_ptr<PipeUser> user) = 0;
  virtual void wait_for_write(std::shared_ptr<PipeUser> user) = 0;
  // Says goodbye in the pipe's own way and ends our direction. From then on read() only discards, so that
  // closing the socket does not make the kernel send RST over bytes the peer has not read yet.
  virtual void shutdown_write() = 0;
  virtual void close() = 0;
  virtual PeerCertificate certificate() const { return {}; }
  // Something other than MQTT is going on that the CONNECT deadline must not cut short (an HTTP request).
  virtual bool busy() const { return false; }
};

enum class WaitFor : std::uint8_t { kRead, kWrite };

// The two pipes that sit on a socket directly; what a WebSocket runs on.
class SocketPipe : public Pipe {
 public:
  explicit SocketPipe(Socket socket) : socket_(std::move(socket)) {}
  void wait_for_read(std::shared_ptr<PipeUser> user) override;
  void wait_for_write(std::shared_ptr<PipeUser> user) override;
  void shutdown_write() override;
  void close() override;

  Socket& socket() { return socket_; }
  virtual WaitFor read_waits_for() const { return WaitFor::kRead; }
  virtual WaitFor write_waits_for() const { return WaitFor::kWrite; }
  // Decrypted bytes wait inside; the socket may never become readable for them.
  virtual bool has_buffered() const { return false; }

 protected:
  IoResult receive(char* to, std::size_t size);

  Socket socket_;
  bool ended_ = false;  // shutdown_write() was called
};

std::unique_ptr<SocketPipe> make_plain_pipe(Socket socket);
// Null when TLS cannot even be set up for it.
std::unique_ptr<SocketPipe> make_tls_pipe(Socket socket, const TlsContext& context);

using HttpHandler = std::function<void(HttpRequest, std::function<void(HttpAnswer)>)>;
struct WebSocketOptions final {
  std::size_t max_message_bytes = 1u << 20;
  std::size_t max_http_body_bytes = 512u << 10;
  std::string listener;
  std::string peer;
  HttpHandler http;  // requests that are no upgrade
};
// Reads the HTTP upgrade first; until it is done read() says kWait.
std::unique_ptr<Pipe> make_web_socket_pipe(std::unique_ptr<SocketPipe> lower, WebSocketOptions options);

}  // namespace decklog::broker
