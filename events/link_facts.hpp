// Facts of connectivity: the uplink (agent and hub) and each client session (hub).
// Enum numbers are stored for ever: append only. See module_facts.hpp for what fields() is.
#pragma once

#include <cstdint>
#include <string>

#include "events/ids.hpp"
#include "events/instant.hpp"

namespace decklog {

enum class UplinkState : std::uint8_t {
  kDisconnected = 1,  // not wanted, or closed on request
  kConnecting = 2,
  kConnected = 3,
  kSuspect = 4,  // no answer to the last ping(s); not given up yet
  kBackingOff = 5,
  kRefused = 6,  // credentials or permissions refused: retried slowly
};

struct UplinkLife final {
  UplinkState state = UplinkState::kDisconnected;
  std::uint8_t cause = 0;     // uplink::LinkCause of the last change
  std::uint32_t attempt = 0;  // connects tried since the link was last stable
  std::uint32_t missed_pings = 0;
  std::int64_t backoff_step_ns = 0;
  std::int64_t backoff_wait_ns = 0;   // drawn: full jitter, zero to the step
  std::int64_t deadline_mono_ns = 0;  // of the armed timer
  std::int64_t connected_since_mono_ns = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "state", self.state);
    visit(1, "cause", self.cause);
    visit(2, "attempt", self.attempt);
    visit(3, "missed_pings", self.missed_pings);
    visit(4, "backoff_step_ns", self.backoff_step_ns);
    visit(5, "backoff_wait_ns", self.backoff_wait_ns);
    visit(6, "deadline_mono_ns", self.deadline_mono_ns);
    visit(7, "connected_since_mono_ns", self.connected_since_mono_ns);
  }
  friend bool operator==(const UplinkLife&, const UplinkLife&) = default;
};

enum class ClientState : std::uint8_t {
  kConnecting = 1,
  kAuthenticating = 2,
  kConnected = 3,
  kSuspended = 4,  // connection gone, session kept
  kRefused = 5,
  kTakenOver = 6,  // a newer connection of the same identity replaced this one
  kClosed = 7,     // no connection, no session
};

struct ClientLife final {
  ClientState state = ClientState::kClosed;
  bool persistent = false;     // session kept over disconnects
  std::uint32_t connects = 0;  // in the present storm window
  std::uint32_t refusals = 0;
  bool storming = false;  // reconnects too often; connects are delayed or refused
  std::int64_t window_start_mono_ns = 0;
  std::int64_t connected_since_mono_ns = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "state", self.state);
    visit(1, "persistent", self.persistent);
    visit(2, "connects", self.connects);
    visit(3, "refusals", self.refusals);
    visit(4, "storming", self.storming);
    visit(5, "window_start_mono_ns", self.window_start_mono_ns);
    visit(6, "connected_since_mono_ns", self.connected_since_mono_ns);
  }
  friend bool operator==(const ClientLife&, const ClientLife&) = default;
};

// ---- inputs
// ----------------------------------------------------------------------------------------------------

struct LinkObserved final {
  std::uint8_t change = 0;  // uplink::LinkChange; 0 = answer to a ping (cause 0) or a missed one
  std::uint8_t cause = 0;   // uplink::LinkCause
  std::string detail;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "change", self.change);
    visit(1, "cause", self.cause);
    visit(2, "detail", self.detail);
  }
  friend bool operator==(const LinkObserved&, const LinkObserved&) = default;
};

// What the broker saw of one client.
struct ClientObserved final {
  std::string client;       // identity "<device>[/<module>]" or MQTT client id
  std::string observation;  // "connect", "authenticated", "refused", "disconnect", "lost", "taken-over",
                            // "expired", "subscribed"
  std::string cause;        // "keep-alive", "bad-token", "server-shutdown", ...
  std::string peer;         // "127.0.0.1:40322"
  std::string detail;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "client", self.client);
    visit(1, "observation", self.observation);
    visit(2, "cause", self.cause);
    visit(3, "peer", self.peer);
    visit(4, "detail", self.detail);
  }
  friend bool operator==(const ClientObserved&, const ClientObserved&) = default;
};

// ---- decisions
// -------------------------------------------------------------------------------------------------

struct UplinkTransitioned final {
  UplinkState from = UplinkState::kDisconnected;
  UplinkState to = UplinkState::kDisconnected;
  std::string trigger;
  std::uint32_t effects = 0;  // statemachines::UplinkEffect bits
  UplinkLife life;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "from", self.from);
    visit(1, "to", self.to);
    visit(2, "trigger", self.trigger);
    visit(3, "effects", self.effects);
    visit(4, "life", self.life);
  }
  friend bool operator==(const UplinkTransitioned&, const UplinkTransitioned&) = default;
};

struct ClientTransitioned final {
  std::string client;
  ClientState from = ClientState::kClosed;
  ClientState to = ClientState::kClosed;
  std::string trigger;
  std::string cause;
  std::uint32_t effects = 0;  // statemachines::ClientEffect bits
  ClientLife life;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "client", self.client);
    visit(1, "from", self.from);
    visit(2, "to", self.to);
    visit(3, "trigger", self.trigger);
    visit(4, "cause", self.cause);
    visit(5, "effects", self.effects);
    visit(6, "life", self.life);
  }
  friend bool operator==(const ClientTransitioned&, const ClientTransitioned&) = default;
};

}  // namespace decklog
