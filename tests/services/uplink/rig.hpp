// What the uplink suites share: a fleet of either kind with an operator's side, and an observer of one
// uplink.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "services/fleet/fleet.hpp"
#include "services/uplink/nats_uplink.hpp"
#include "tests/support/nats_server.hpp"

namespace decklog::uplink {

inline constexpr Duration kDeadline = std::chrono::seconds(15);

// One upstream, reachable or cut.
class Rig {
 public:
  virtual ~Rig() = default;
  virtual std::unique_ptr<Uplink> uplink(boost::asio::io_context& io, const std::string& device) = 0;
  virtual fleet::Fleet& fleet() = 0;
  virtual void cut() = 0;
  virtual void restore() = 0;
};
std::unique_ptr<Rig> make_rig(const std::string& kind);

NatsOptions quick_options(const std::string& url, const std::string& device);

// Runs the executor on the test's thread and writes down what an uplink says.
class Observer {
 public:
  explicit Observer(Rig& rig, const std::string& device = "edge-1");
  Observer(std::unique_ptr<boost::asio::io_context> io, std::unique_ptr<Uplink> uplink);

  bool wait(const std::function<bool()>& condition, Duration deadline = kDeadline);
  // connect() and wait for how it ends.
  LinkEvent connect();
  bool connected() const { return !links.empty() && links.back().change == LinkChange::kConnected; }

  // Runs a call with a callback to its end.
  template <class T, class Call>
  Result<T> ask(Call call) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    const auto thread = std::this_thread::get_id();
    bool inside = true;
    call([this, result, thread, &inside](Result<T> value) {
      in_callback_ok = in_callback_ok && !inside && thread == std::this_thread::get_id();
      *result = std::move(value);
    });
    inside = false;
    if (!wait([&] { return result->has_value(); })) return error(Errc::kInternal, "the callback never came");
    return **result;
  }

  std::unique_ptr<boost::asio::io_context> io;
  std::unique_ptr<Uplink> uplink;
  std::vector<LinkEvent> links;
  std::vector<std::pair<TwinKey, TwinValue>> desired;
  std::vector<std::pair<TwinKey, std::string>> identities;
  std::vector<MethodCall> calls;
  std::vector<CloudMessage> messages;
  std::vector<std::pair<std::string, Error>> watch_failures;
  bool in_callback_ok = true;  // every callback on this thread, none inside the call that takes it

 private:
  void listen();
};

Telemetry reading(std::uint64_t sequence, std::string body = {});
// All that is stored for a device, in order.
std::vector<fleet::TelemetryRecord> stored(fleet::Fleet& fleet, const std::string& device);

}  // namespace decklog::uplink
