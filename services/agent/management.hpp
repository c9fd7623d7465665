// The management API: HTTP/1.1 over a unix socket, JSON; what `decklog
// apply|plan|list|restart|stop|start|logs` speak.
//
//   GET  /v1/status                         the device at a glance
//   GET  /v1/modules                        {"modules":[...]} as `list` shows them
//   POST /v1/desired                        body: a desired document; 200 with the verdict (its `code` may be
//   400) POST /v1/plan                           body: a desired document; what would change and why; changes
//   nothing POST /v1/modules/{name}/{restart|stop|start} GET  /v1/modules/{name}/logs?tail&since&until&follow
//   JSON lines {"time","stream","text"}
// Who may: the agent's own user and root, by the socket's mode and the kernel's word on the peer; every
// command is an event with that actor. Thread: the executor's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>

#include "services/agent/agent.hpp"

namespace decklog::http {
class Server;
struct Request;
class Responder;
}  // namespace decklog::http

namespace decklog::agent {

class Management {
 public:
  Management(boost::asio::any_io_executor executor, Agent& agent);
  ~Management();
  Status listen(const std::string& socket_path);

 private:
  void handle(http::Request request, http::Responder responder);
  void status(const http::Responder& responder) const;
  void list(const http::Responder& responder) const;
  void apply(const http::Request& request, const http::Responder& responder);
  void plan(const http::Request& request, const http::Responder& responder) const;
  void command(const http::Request& request, const http::Responder& responder);
  void logs(const http::Request& request, const http::Responder& responder);

  boost::asio::any_io_executor executor_;
  Agent& agent_;
  std::unique_ptr<http::Server> server_;
  std::uint64_t requests_ = 0;
};

}  // namespace decklog::agent
