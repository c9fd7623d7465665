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
  // `life` and `every` (from ping to ping) are the machine's and outlive this; `submit` takes its inputs.
  Pulse(boost::asio::any_io_executor executor, Uplink& uplink, const UplinkLife& life, const Duration& every,
        std::function<void(Fact)> submit);

  void ping();
  void on_timer();  // the machine's
  void rest();      // the link is down

 private:
  void ping_on();
  bool healthy() const { return life_.state == UplinkState::kConnected && life_.missed_pings == 0; }

  Uplink& uplink_;
  const UplinkLife& life_;
  const Duration& every_;
  std::function<void(Fact)> submit_;
  boost::asio::steady_timer next_;
};

}  // namespace decklog::uplink
