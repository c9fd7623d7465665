// Private to this folder: what the server knows of a connection, and a connection of the server.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "services/http/server.hpp"

namespace decklog::http {

class ConnectionBase {
 public:
  virtual ~ConnectionBase() = default;
  virtual void start() = 0;
  virtual void respond(Response response) = 0;
  virtual std::shared_ptr<ResponseStream> begin_stream(int status, std::string content_type) = 0;
  // Waits for a request, has read nothing of it.
  virtual bool idle() const = 0;
  virtual MonoTime idle_since() const = 0;
  virtual void cut() = 0;
  // No further request after the one in hand.
  virtual void finish() = 0;
};

// The server, as its connections see it. Outlives none of them for sure: they hold it weakly.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual const ServerLimits& limits() const = 0;
  virtual ServerCounters& counts() = 0;
  // Runs `begin` now or when a request slot is free. Each call is matched by one release().
  virtual void admit(std::function<void()> begin) = 0;
  virtual void release() = 0;
  virtual void dispatch(Request request, Responder responder) = 0;
  virtual void ended(ConnectionBase* connection) = 0;
};

class Exchange final {
 public:
  explicit Exchange(std::weak_ptr<ConnectionBase> connection) : connection_(std::move(connection)) {}
  ~Exchange() { send(json_error(500, "the request was not answered")); }
  void send(Response response) {
    if (auto connection = take()) connection->respond(std::move(response));
  }
  std::shared_ptr<ResponseStream> stream(int status, std::string content_type) {
    auto connection = take();
    return connection ? connection->begin_stream(status, std::move(content_type)) : nullptr;
  }

 private:
  std::shared_ptr<ConnectionBase> take() {
    auto connection = connection_.lock();
    connection_.reset();
    return connection;
  }
  std::weak_ptr<ConnectionBase> connection_;
};

using Socket = boost::asio::generic::stream_protocol::socket;
using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

std::shared_ptr<ConnectionBase> make_plain_connection(std::weak_ptr<ConnectionOwner> owner, Socket socket,
                                                      Peer peer);
std::shared_ptr<ConnectionBase> make_tls_connection(std::weak_ptr<ConnectionOwner> owner, Socket socket,
                                                    Peer peer, TlsContext context);
Result<TlsContext> make_tls_context(const TlsSettings& settings);
// PEM of the verified certificate the client showed, or empty.
std::string client_certificate(void* ssl);

MonoTime mono_now();

}  // namespace decklog::http
