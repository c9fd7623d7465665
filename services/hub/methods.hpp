// Direct methods on their way to clients and back: from the fleet, and from modules. Private to services/hub.
// Thread: the executor's. Every call ends exactly once, at its deadline at the latest; nothing survives us.
// Bounds: kMaxMethods, kMaxMethodsPerClient.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "services/hub/head_clients.hpp"
#include "services/hub/head_limits.hpp"
#include "services/iothub/topics.hpp"
#include "services/loop/clock.hpp"

namespace decklog::hub {

struct MethodRequest {
  std::string from;  // client id of the caller; "upstream" = the fleet
  Identity target;
  std::string name;
  std::string payload;          // JSON text; empty = none
  Duration connect_timeout{0};  // to wait for the target and its subscription
  Duration response_timeout = kMethodTimeout;
};

// failure 0: the client answered with `status` and `payload` (JSON text). Else what HTTP would say: 400 bad
// name or payload, 404 not connected, 429 too many, 502 answer is not JSON or has no status, 504 no answer;
// `payload` is
// {"message":...} then.
struct MethodOutcome {
  unsigned failure = 0;
  int status = 0;
  std::string payload;
};
MethodOutcome method_failure(unsigned failure, std::string_view message);

class Methods final {
 public:
  using Done = std::function<void(MethodOutcome)>;
  Methods(boost::asio::any_io_executor executor, loop::Surroundings& surroundings, Clients& clients);

  void call(MethodRequest request, Done done);
  void on_response(const Identity& client, const iothub::MethodResponseTopic& topic,
                   std::string_view payload);
  // Connected, or subscribed: calls that waited for it go.
  void on_ready(const Identity& client);

 private:
  struct Call {
    MethodRequest request;
    Done done;
    bool sent = false;
    boost::asio::steady_timer deadline;
  };
  bool ready(const Identity& client) const;
  void send(const std::string& rid, Call& call);
  void arm(const std::string& rid, Call& call, Duration within);
  void end(const std::string& rid, MethodOutcome outcome);

  boost::asio::any_io_executor executor_;
  Clients& clients_;
  std::string prefix_;  // of request ids: an answer to an earlier run's must not be taken for ours
  std::uint64_t next_ = 1;
  std::map<std::string, std::unique_ptr<Call>> calls_;  // by request id
  std::map<std::string, std::size_t> open_;             // by target
};

}  // namespace decklog::hub
