// A small HTTP/1.1 client: the CLI's way to the management API, and health probes. No redirects, no TLS, no
// proxies.
//
// Thread: the blocking calls run on any thread and need nothing around them; the asynchronous one calls back
// on the executor it is given. Each request uses a connection of its own. Failure: kUnavailable = nobody
// listens there; kPermissionDenied = the socket is not ours to use; kTimeout; kMalformed = not HTTP;
// kTooLarge; kClosed = the answer ended early. A status of 400 and above is not a failure: look at
// Response::status. Limits: ClientLimits.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "events/instant.hpp"
#include "services/http/message.hpp"

namespace decklog::http {

// A unix socket, or (when unix_path is empty) an IP literal and port.
struct Endpoint {
  std::string unix_path;
  std::string address = {};
  std::uint16_t port = 0;
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";
  std::string body = {};
  std::string content_type = "application/json";  // sent when there is a body
  std::vector<std::pair<std::string, std::string>> headers = {};
};

struct ClientLimits {
  Duration answer_deadline = std::chrono::seconds(30);  // whole answer; for a stream: its header
  Duration silence_deadline = Duration::zero();         // between pieces of a stream; zero = none
  std::size_t body_bytes = 16 * 1024 * 1024;            // of a streamed answer: one line
};

Result<Response> request(const Endpoint& endpoint, const ClientRequest& request,
                         const ClientLimits& limits = {});

// Hands over each line (without its newline) of a 2xx answer as it arrives, until the end or until `on_line`
// returns false. The Response has the status, and the body when that is not 2xx.
Result<Response> stream_lines(const Endpoint& endpoint, const ClientRequest& request,
                              const std::function<bool(std::string_view)>& on_line,
                              const ClientLimits& limits = {});

// Destroying the handle cancels; `done` is then not called. Never called inside this call.
std::shared_ptr<void> async_request(boost::asio::any_io_executor executor, const Endpoint& endpoint,
                                    ClientRequest request, const ClientLimits& limits,
                                    std::function<void(Result<Response>)> done);

}  // namespace decklog::http
