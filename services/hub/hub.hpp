// The Edge Hub, put together: core and log, message store, broker, head, forwarder, link. Thread: one
// io_context, run by one thread. Owner: hub_service.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "services/broker/broker.hpp"
#include "services/config/config.hpp"
#include "services/hub/core.hpp"
#include "services/hub/parts.hpp"
#include "services/loop/journal_keeper.hpp"
#include "services/loop/service_loop.hpp"
#include "services/loop/timers.hpp"

namespace decklog::hub {

class Hub final : public HubLog {
 public:
  Hub(boost::asio::io_context& context, const config::Config& config);
  ~Hub() override;

  // Opens journal, stores and listeners. After success everything runs.
  Status open();
  // Lets clients go, commits, says goodbye; `done` when over.
  void stop(const std::string& reason, std::function<void()> done);

  // For the management API, metrics and tests.
  const HubState& state() const { return core_.state(); }
  std::string clients_json() const;
  std::string queues_json(bool all);  // all: empty queues of client sessions too
  std::string metrics_text();
  std::uint16_t port(std::string_view listener) const;
  std::string not_ready() const;  // why messages cannot be taken now; "" = they can

  void observe(const std::string& client, std::string observation, std::string cause, std::string peer,
               std::string detail) override;
  void note(Fact fact) override;
  bool storming(const std::string& client) const override;

 private:
  struct Parts;
  Status open_log();
  Status open_stores();
  Status open_listeners();
  Status load_certificate(bool first);
  Status make_certificate();
  void look_at_certificate();
  void released(const Envelope& event);
  void tick();
  void compare_losses();
  void received_desired(const uplink::TwinValue& value);
  std::string reported() const;
  uplink::Listener listener();

  boost::asio::io_context& context_;
  const config::Config& config_;
  loop::SystemSurroundings surroundings_;
  HubCore core_;
  loop::OpenedJournal journal_;
  std::unique_ptr<Parts> parts_;
  boost::asio::steady_timer tick_;
  bool stopping_ = false;
  std::uint64_t ticks_ = 0;
  Duration clock_offset_{};  // wall minus monotonic, at the last tick
};

}  // namespace decklog::hub
