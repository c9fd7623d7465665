// HTTP/1.1 over the container engine's unix socket: one connection per exchange, so that no exchange waits
// for another.
//
// Thread: the executor's. A callback never runs inside the call. Failure: kUnavailable (where = "engine")
// when nobody answers, the answer is cut short, is not HTTP, or is larger than its limit; kTimeout (where =
// "engine") after the deadline. An HTTP error status is a success here: the caller knows what it means.
// Limits: head kEngineHeadLimitBytes, body as asked. Source of protocol facts: Docker Engine API v1.40 to
// v1.44.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::runtime {

inline constexpr std::size_t kEngineHeadLimitBytes = 16 << 10;
inline constexpr std::size_t kEngineBodyLimitBytes = 16 << 20;

struct EngineRequest {
  std::string method = "GET";
  std::string target;
  std::string body = {};           // JSON when not empty
  std::string registry_auth = {};  // X-Registry-Auth; never logged
  Duration deadline{};             // the whole exchange; zero = none
  Duration idle{};                 // longest silence; zero = none
  std::size_t body_limit = kEngineBodyLimitBytes;
};

struct EngineReply {
  unsigned status = 0;
  std::string body;  // streams: only of an error status
  bool ok() const { return status >= 200 && status < 300; }
};

class EngineClient final {
 public:
  using Done = std::function<void(Result<EngineReply>)>;
  using Data = std::function<bool(std::string_view)>;  // false = enough: done follows with kCancelled
  using Cancel = std::function<void()>;                // after it, no callback; may be called any time

  EngineClient(boost::asio::any_io_executor executor, std::string socket_path);
  ~EngineClient();
  EngineClient(const EngineClient&) = delete;
  EngineClient& operator=(const EngineClient&) = delete;

  Cancel call(EngineRequest request, Done done);
  // `data` gets the body of a 2xx answer as it arrives.
  Cancel stream(EngineRequest request, Data data, Done done);

 private:
  class Exchange;
  boost::asio::any_io_executor executor_;
  std::string socket_path_;
  std::shared_ptr<std::set<std::shared_ptr<Exchange>>> live_;
};

Error engine_unavailable(const std::string& why);

}  // namespace decklog::runtime
