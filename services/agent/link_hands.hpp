// Carries out what the Uplink machine decided, and keeps the fleet's copy of the reported document in step
// with the log.
//
// The reported document is a projection with a checkpoint: sent when its digest differs from the last
// acknowledged one (or as a heartbeat), one at a time, covering only durable events; the acknowledgement is
// an input. Killed at any instant, the next run sends again what was not acknowledged, and the fleet sees the
// same document or a later one. Thread: the agent's executor.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>

#include "services/agent/report.hpp"
#include "services/agent/state.hpp"
#include "services/loop/service_loop.hpp"
#include "services/loop/timers.hpp"
#include "services/uplink/pulse.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::agent {

struct LinkOptions {
  std::string device;
  std::string build;
  std::string architecture;
  std::uint64_t epoch = 0;
  Duration heartbeat = std::chrono::minutes(5);
  Duration report_pause = std::chrono::milliseconds(100);  // changes within it go in one document
};

class LinkHands {
 public:
  LinkHands(boost::asio::any_io_executor executor, loop::ServiceLoop& loop, const AgentState& state,
            loop::Surroundings& surroundings, loop::Timers& timers, uplink::Uplink& uplink,
            LinkOptions options);

  void carry_out(const UplinkTransitioned& decision);
  // A durable event may have changed what there is to report.
  void consider_report();
  // Sends the last report of this run (all modules "unknown", code 406) and calls done when it is
  // acknowledged or failed.
  void report_last(std::function<void()> done);
  void set_tree_head(std::string json) { tree_head_ = std::move(json); }
  void on_link(const uplink::LinkEvent& event);
  void on_timer() { pulse_.on_timer(); }

 private:
  void send_report(bool heartbeat, std::function<void()> done = {});
  void sent(const Report& report, const Result<std::uint64_t>& revision);
  void arm_heartbeat();

  boost::asio::any_io_executor executor_;
  loop::ServiceLoop& loop_;
  const AgentState& state_;
  loop::Surroundings& surroundings_;
  loop::Timers& timers_;
  uplink::Uplink& uplink_;
  LinkOptions options_;
  std::string tree_head_;
  bool up_ = false;
  bool sending_ = false;
  bool again_ = false;  // something changed while a report was on its way
  bool scheduled_ = false;
  bool force_ = true;  // first report after a connect goes out in any case
  boost::asio::steady_timer pause_;
  boost::asio::steady_timer heartbeat_;
  uplink::Pulse pulse_;
};

}  // namespace decklog::agent
