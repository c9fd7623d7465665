// The hub's core: ClientSession and Uplink machines over the hub's log. Pure; see AgentCore for the same
// thing of the agent. One owner.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "events/event.hpp"
#include "events/result.hpp"
#include "services/loop/service_loop.hpp"
#include "statemachines/client_machine.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::hub {

inline constexpr std::string_view kBehaviour[] = {"client-2", "uplink-1"};
inline constexpr std::size_t kMaxClientRecords = 20'000;  // beyond: clients that are gone are forgotten
inline constexpr std::size_t kForgottenAtOnce = 200;      // oldest first; so many, because looking takes time

struct ClientRecord {
  ClientLife life;
  WallTime changed;
  std::string peer, cause;
};

struct HubState {
  std::string device, version;
  BootId boot;
  Sequence through;
  statemachines::UplinkSettings uplink_settings;
  bool uplink_wanted = true;
  UplinkLife uplink;
  std::map<std::string, ClientRecord> clients;
  ReportAcknowledged report;
  DesiredReceived desired;  // $edgeHub's document, as received last; document empty = none
  std::int32_t desired_code = 0;
  bool clean_shutdown = true;
};

class HubCore final : public loop::Core {
 public:
  std::vector<Envelope> take(const Envelope& input) override;
  void fold(const Envelope& event) override;
  bool matters(const Fact& input) const override;
  std::string snapshot() const override;
  Status restore(std::string_view snapshot);
  const HubState& state() const { return state_; }

 private:
  struct Turn;
  HubState state_;
};

std::string settings_json(const HubState& state);

}  // namespace decklog::hub
