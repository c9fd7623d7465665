// What the agent tells about itself: metrics and health over HTTP, signed heads of its log, direct methods.
//
// Counters and the Merkle tree are projections of the log: both are read from the journal itself, a few
// hundred events at a time, never from what the loop happens to do. So they survive restarts and cannot
// disagree with what is stored. Owner: the agent's process; the journal and the surroundings outlive it.
// Thread: the executor's. Failure stops nothing: a metrics port that cannot be opened is tried again, without
// a log key the log goes on unsigned; both are said, in the log too.
//
//   GET /metrics  Prometheus text    GET /healthz  200 while the process answers
//   GET /readyz   200 once the state is recovered and history is written, else 503 {"ready":false,"reason"}
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <vector>

#include "services/agent/agent.hpp"
#include "services/config/config.hpp"

namespace decklog::agent {

inline constexpr std::uint64_t kHeadEveryEvents = 500;
inline constexpr std::uint64_t kTallySnapshotEveryEvents = 2000;
// Decisions not reported yet are counted up to here.
inline constexpr std::size_t kMostLagEvents = 100'000;

class Telemetry {
 public:
  Telemetry(boost::asio::any_io_executor executor, const config::Config& config,
            persistence::Journal& journal, loop::Surroundings& surroundings);
  ~Telemetry();

  // Opens the metrics port when the configuration has one.
  void attach(Agent& agent, uplink::Uplink& uplink);
  void take(const Envelope& event);
  // A signed head when one is due after this durable event: at each start and stop, and every few hundred
  // events.
  std::vector<Fact> heads_after(const Envelope& event);
  // $edgeAgent's direct methods: ping, RestartModule, GetModuleLogs.
  void answer_method(const uplink::MethodCall& call);
  // Port of the metrics listener; 0 = none. For tests.
  std::uint16_t metrics_port() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace decklog::agent
