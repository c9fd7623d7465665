// Uplink: the link to the fleet, for agent and hub alike. Table in uplink_table.hpp, diagram in README.md.
// Two-sided liveness (pings we send; their absence makes the link suspect, then lost), full jitter, back-off
// reset only after the link has been stable, refused credentials retried slowly, a cause code on every
// change.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "events/link_facts.hpp"
#include "statemachines/step.hpp"

namespace decklog::statemachines {

enum UplinkEffect : std::uint32_t {
  kConnect = 1u << 0,
  kDisconnect = 1u << 1,
  kPing = 1u << 2,
  kArmUplinkTimer =
      1u << 3,  // timer "uplink" at life.deadline_mono_ns (connect deadline, ping interval, back-off)
  kCancelUplinkTimer = 1u << 4,
  kLinkUp = 1u << 5,  // tell the rest: sync twins, drain queues
  kLinkDown = 1u << 6,
};

struct UplinkSettings {
  Duration backoff_first = std::chrono::seconds(1);
  Duration backoff_cap = std::chrono::minutes(2);
  Duration refused_retry = std::chrono::minutes(5);  // credentials refused
  Duration connect_deadline = std::chrono::seconds(20);
  Duration ping_every = std::chrono::seconds(20);
  std::uint32_t pings_missed_max = 2;                // then lost
  Duration stable_after = std::chrono::seconds(60);  // connected that long: back-off starts over
};

struct UplinkContext : Context {
  UplinkSettings settings;
};

struct LinkWanted final {};
struct LinkUnwanted final {};
struct LinkEstablished final {};
struct LinkFailed final {  // the attempt failed
  std::uint8_t cause = 0;
};
struct LinkRefused final {  // credentials or permissions
  std::uint8_t cause = 0;
};
struct LinkLost final {
  std::uint8_t cause = 0;
};
struct PingAnswered final {};
struct PingMissed final {};
struct UplinkTimerFired final {};
struct CredentialsChanged final {};  // try at once
struct UplinkRestarted final {};     // our process (or the device) started again: any connection is gone

using UplinkInput =
    std::variant<LinkWanted, LinkUnwanted, LinkEstablished, LinkFailed, LinkRefused, LinkLost, PingAnswered,
                 PingMissed, UplinkTimerFired, CredentialsChanged, UplinkRestarted>;

Step<UplinkLife> step(const UplinkLife& life, const UplinkInput& input, const UplinkContext& context);

std::string uplink_diagram();
std::string uplink_refusals();  // Markdown table of the (state, input) pairs that no row takes

}  // namespace decklog::statemachines
