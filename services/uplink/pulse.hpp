// The pings of a link that answers. On such a link the Uplink machine's timer is the next ping and nothing a
// log should grow by: while it is healthy this asks again and again by itself, and the machine hears of the
// first ping that is missed. From then on its own timer asks, until the link answers once more.
//
// Source of what is submitted: LinkObserved with cause kPingMissed, or with no change and no cause when
// answered. Owner: what carries out the machine's decisions. Thread: the executor's.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>

#include "events/event.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

class Pulse {
 public:
  struct Hooks {
    std::function<bool()> healthy;       // connected, and no ping missed
    std::function<Duration()> interval;  // from ping to ping
    std::function<void(Fact)> submit;    // an input of the machine
  };
  Pulse(boost::asio::any_io_executor executor, Uplink& uplink, Hooks hooks);

  void ping();
  void on_timer();  // the machine's
  void rest();      // the link is down

 private:
  void ping_on();

  Uplink& uplink_;
  Hooks hooks_;
  boost::asio::steady_timer next_;
};

}  // namespace decklog::uplink
