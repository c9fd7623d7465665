// What the agent tells about itself: signed tree heads, direct methods of the fleet, metrics. Thread: the
// executor's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <vector>

#include "services/agent/agent.hpp"
#include "services/config/config.hpp"

namespace decklog::agent {

class Telemetry {
 public:
  Telemetry(boost::asio::any_io_executor executor, const config::Config& config,
            persistence::Journal& journal, loop::Surroundings& surroundings);
  ~Telemetry();

  // Opens the metrics port when the configuration has one.
  Status attach(Agent& agent, uplink::Uplink& uplink);
  void take(const Envelope& event);
  // A signed head when one is due after this durable event: at each start and stop, and every few hundred
  // events.
  std::vector<Fact> heads_after(const Envelope& event);
  // $edgeAgent's direct methods: ping, RestartModule, GetModuleLogs.
  void answer_method(const uplink::MethodCall& call);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace decklog::agent
