// The hub's uplink: carries out what the Uplink machine decided, and reports $edgeHub's document (routes
// applied, clients connected). Owner: Hub. Thread: the executor's.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>

#include "services/hub/core.hpp"
#include "services/hub/parts.hpp"
#include "services/loop/timers.hpp"
#include "services/uplink/pulse.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::hub {

class HubLink {
 public:
  struct Hooks {
    std::function<void(bool up)> on_change;
    std::function<std::string()> reported;  // the document; "" = nothing to say yet
  };
  HubLink(boost::asio::any_io_executor executor, loop::ServiceLoop& loop, const HubState& state,
          loop::Timers& timers, uplink::Uplink& uplink, std::string device, Hooks hooks);

  void carry_out(const UplinkTransitioned& decision);
  void on_link(const uplink::LinkEvent& event);
  void consider_report();
  bool up() const { return up_; }
  void on_timer() { pulse_.on_timer(); }

 private:
  void report();

  loop::ServiceLoop& loop_;
  const HubState& state_;
  loop::Timers& timers_;
  uplink::Uplink& uplink_;
  std::string device_;
  Hooks hooks_;
  bool up_ = false, sending_ = false, again_ = false, scheduled_ = false;
  std::string last_sent_;
  boost::asio::steady_timer pause_;
  uplink::Pulse pulse_;
};

}  // namespace decklog::hub
