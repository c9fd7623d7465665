// ClientSession: one identity's connection and session at the hub. Table in client_table.hpp, diagram in
// README.md. Two clients that share one identity take it over from each other without end; the machine
// notices the storm and asks to delay or refuse connects instead of feeding it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "events/link_facts.hpp"
#include "statemachines/step.hpp"

namespace decklog::statemachines {

enum ClientEffect : std::uint32_t {
  kAuthenticate = 1u << 0,
  kAcceptClient = 1u << 1,
  kRefuseClient = 1u << 2,
  kCloseOldConnection = 1u << 3,
  kDropSession = 1u << 4,
  kDelayConnect = 1u << 5,  // storming: answer CONNACK 3 (try later)
  kReportClient = 1u << 6,  // reported `clients` of $edgeHub changes
};

struct ClientSettings {
  Duration storm_window = std::chrono::seconds(10);
  std::uint32_t storm_connects = 10;  // more connects than this within the window is a storm
};

struct ClientContext : Context {
  ClientSettings settings;
};

struct ClientArrived final {};  // TCP connection sent CONNECT with this identity
struct ClientAuthenticated final {
  bool persistent = false;  // clean session 0
};
struct ClientRefusedAuth final {};
struct ClientDisconnected final {};  // DISCONNECT packet
struct ClientLost final {};          // connection ended without one: keep-alive, RST, FIN, protocol error
struct ClientReplaced final {};      // a newer connection of the same identity was accepted
struct ClientSessionEnded final {};  // session removed (expired, clean connect, operator)
struct ClientDisabled final {};      // identity disabled or re-keyed upstream
struct HubRestarted final {};        // our process started again: every connection is gone, sessions stay

using ClientInput =
    std::variant<ClientArrived, ClientAuthenticated, ClientRefusedAuth, ClientDisconnected, ClientLost,
                 ClientReplaced, ClientSessionEnded, ClientDisabled, HubRestarted>;

Step<ClientLife> step(const ClientLife& life, const ClientInput& input, const ClientContext& context);

std::string client_diagram();
std::string client_refusals();  // Markdown table of the (state, input) pairs that no row takes

}  // namespace decklog::statemachines
