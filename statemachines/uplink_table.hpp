// The table of Uplink: guards, actions, rows.
#pragma once

#include <algorithm>

#include "statemachines/rows.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::statemachines::uplink {

// Cause codes of services/uplink; stored in the log.
inline constexpr std::uint8_t kCauseNone = 0;
inline constexpr std::uint8_t kCauseTimeout = 3;
inline constexpr std::uint8_t kCausePingMissed = 7;
inline constexpr std::uint8_t kCauseRequested = 11;
inline constexpr Duration kStepMin = std::chrono::milliseconds(100);  // whatever the settings say

struct Run {
  UplinkLife life;
  const UplinkContext* context = nullptr;
  std::uint32_t effects = 0;
  RowTrace trace;
};

inline void disarm(Run& run) {
  if (run.life.deadline_mono_ns == 0) return;
  run.life.deadline_mono_ns = 0;
  run.effects |= kCancelUplinkTimer;
}
inline void arm_in(Run& run, std::int64_t ns) {
  run.life.deadline_mono_ns = std::max<std::int64_t>(run.context->now.ns + ns, 1);
  run.effects = (run.effects & ~std::uint32_t{kCancelUplinkTimer}) | kArmUplinkTimer;
}
inline bool is_stable(const Run& run) {
  return run.life.connected_since_mono_ns != 0 &&
         run.context->now.ns - run.life.connected_since_mono_ns >= run.context->settings.stable_after.count();
}
inline void start_over(UplinkLife& life) {
  life.attempt = 0;
  life.backoff_step_ns = 0;
  life.backoff_wait_ns = 0;
}
inline void connect_now(Run& run) {
  ++run.life.attempt;
  run.life.missed_pings = 0;
  run.life.connected_since_mono_ns = 0;
  run.effects |= kConnect;
  arm_in(run, run.context->settings.connect_deadline.count());
}
// Full jitter: a fleet that lost its server together does not come back together.
inline void back_off(Run& run) {
  UplinkLife& life = run.life;
  const UplinkSettings& settings = run.context->settings;
  if (is_stable(run)) start_over(life);
  const std::int64_t first = std::max(settings.backoff_first, kStepMin).count();
  const std::int64_t cap = std::max<std::int64_t>(settings.backoff_cap.count(), first);
  std::int64_t step = first;
  for (std::uint32_t n = 1; n < life.attempt && step < cap; ++n) step = step > cap / 2 ? cap : step * 2;
  life.backoff_step_ns = std::min(step, cap);
  life.backoff_wait_ns = draw_between(run.context->random, 0, life.backoff_step_ns);
  life.missed_pings = 0;
  life.connected_since_mono_ns = 0;
  arm_in(run, life.backoff_wait_ns);
}
// A refusal is not cured by asking often.
inline void wait_refused(Run& run) {
  UplinkLife& life = run.life;
  life.backoff_step_ns = std::max(run.context->settings.refused_retry, kStepMin).count();
  life.backoff_wait_ns = draw_between(run.context->random, life.backoff_step_ns / 2, life.backoff_step_ns);
  life.missed_pings = 0;
  life.connected_since_mono_ns = 0;
  arm_in(run, life.backoff_wait_ns);
}

// ---- guards -------------------------------------------------------------------------------------

struct due {
  bool operator()(const UplinkTimerFired&, const Run& run) const {
    return run.life.deadline_mono_ns != 0 && run.context->now.ns >= run.life.deadline_mono_ns;
  }
};
struct missed_too_often {
  bool operator()(const PingMissed&, const Run& run) const {
    return run.life.missed_pings + 1 >= run.context->settings.pings_missed_max;
  }
};

// ---- actions ------------------------------------------------------------------------------------

struct connect {
  template <class Input>
  void operator()(const Input&, Run& run) const {
    connect_now(run);
  }
};
// New credentials: what was refused or failed before says nothing any more.
struct connect_anew {
  void operator()(const CredentialsChanged&, Run& run) const {
    start_over(run.life);
    run.life.cause = kCauseNone;
    connect_now(run);
  }
};
struct reconnect_anew {
  void operator()(const CredentialsChanged& changed, Run& run) const {
    run.effects |= kDisconnect;
    connect_anew{}(changed, run);
  }
};
struct come_up {
  void operator()(const LinkEstablished&, Run& run) const {
    run.life.cause = kCauseNone;
    run.life.missed_pings = 0;
    run.life.connected_since_mono_ns = std::max<std::int64_t>(run.context->now.ns, 1);
    run.effects |= kLinkUp;
    arm_in(run, run.context->settings.ping_every.count());
  }
};
struct close {
  void operator()(const LinkUnwanted&, Run& run) const {
    disarm(run);
    start_over(run.life);
    run.life.cause = kCauseRequested;
    run.life.missed_pings = 0;
    run.life.connected_since_mono_ns = 0;
    run.effects |= kDisconnect;
  }
};
struct close_up {
  void operator()(const LinkUnwanted& unwanted, Run& run) const {
    close{}(unwanted, run);
    run.effects |= kLinkDown;
  }
};
// An answer to an attempt that was given up.
struct drop_late {
  void operator()(const LinkEstablished&, Run& run) const { run.effects |= kDisconnect; }
};
struct fail {
  template <class Input>
  void operator()(const Input& failed, Run& run) const {
    run.life.cause = failed.cause;
    back_off(run);
  }
};
struct fail_late {
  void operator()(const UplinkTimerFired&, Run& run) const {
    run.life.cause = kCauseTimeout;
    run.effects |= kDisconnect;
    back_off(run);
  }
};
struct refuse {
  void operator()(const LinkRefused& refused, Run& run) const {
    run.life.cause = refused.cause;
    wait_refused(run);
  }
};
struct refuse_up {
  void operator()(const LinkRefused& refused, Run& run) const {
    refuse{}(refused, run);
    run.effects |= kDisconnect | kLinkDown;
  }
};
struct lose {
  template <class Input>
  void operator()(const Input& lost, Run& run) const {
    run.life.cause = lost.cause;
    run.effects |= kLinkDown;
    back_off(run);
  }
};
struct give_up {
  void operator()(const PingMissed&, Run& run) const {
    run.life.cause = kCausePingMissed;
    run.effects |= kDisconnect | kLinkDown;
    back_off(run);
  }
};
struct suspect {
  void operator()(const PingMissed&, Run& run) const {
    ++run.life.missed_pings;
    run.life.cause = kCausePingMissed;
    run.effects |= kPing;
    arm_in(run, run.context->settings.ping_every.count());
  }
};
struct trust {
  void operator()(const PingAnswered&, Run& run) const {
    run.life.missed_pings = 0;
    run.life.cause = kCauseNone;
    arm_in(run, run.context->settings.ping_every.count());
  }
};
struct ping {
  void operator()(const UplinkTimerFired&, Run& run) const {
    if (is_stable(run)) start_over(run.life);
    run.effects |= kPing;
    arm_in(run, run.context->settings.ping_every.count());
  }
};
struct forget {
  void operator()(const UplinkRestarted&, Run& run) const {
    disarm(run);
    start_over(run.life);
    run.life.cause = kCauseNone;
    run.life.missed_pings = 0;
    run.life.connected_since_mono_ns = 0;
  }
};

// ---- the table ----------------------------------------------------------------------------------

struct Disconnected : State<UplinkState::kDisconnected> {};
struct Connecting : State<UplinkState::kConnecting> {};
struct Connected : State<UplinkState::kConnected> {};
struct Suspect : State<UplinkState::kSuspect> {};
struct BackingOff : State<UplinkState::kBackingOff> {};
struct Refused : State<UplinkState::kRefused> {};

struct Table {
  using States = mp::mp_list<Disconnected, Connecting, Connected, Suspect, BackingOff, Refused>;
  using Inputs = mp::mp_rename<UplinkInput, mp::mp_list>;
  using Rows = mp::mp_append<
      mp::mp_list<On<Disconnected, LinkWanted, Connecting, connect>>,
      OnEach<LinkUnwanted, Disconnected, close, Always, Connecting, BackingOff, Refused>,
      OnEach<LinkUnwanted, Disconnected, close_up, Always, Connected, Suspect>,
      mp::mp_list<On<Connecting, LinkEstablished, Connected, come_up>>,
      OnEach<LinkEstablished, None, drop_late, Always, Disconnected, BackingOff, Refused>,
      mp::mp_list<On<Connecting, LinkFailed, BackingOff, fail>, On<Connecting, LinkLost, BackingOff, fail>,
                  On<Connecting, LinkRefused, Refused, refuse>>,
      OnEach<LinkRefused, Refused, refuse_up, Always, Connected, Suspect>,
      OnEach<LinkLost, BackingOff, lose, Always, Connected, Suspect>,
      OnEach<LinkFailed, BackingOff, lose, Always, Connected, Suspect>,
      mp::mp_list<On<Suspect, PingAnswered, Connected, trust>,
                  On<Connected, PingMissed, BackingOff, give_up, missed_too_often>,
                  On<Connected, PingMissed, Suspect, suspect>,
                  On<Suspect, PingMissed, BackingOff, give_up, missed_too_often>,
                  On<Suspect, PingMissed, None, suspect>,
                  On<Connecting, UplinkTimerFired, BackingOff, fail_late, due>>,
      OnEach<UplinkTimerFired, None, ping, due, Connected, Suspect>,
      OnEach<UplinkTimerFired, Connecting, connect, due, BackingOff, Refused>,
      OnEach<CredentialsChanged, Connecting, connect_anew, Always, BackingOff, Refused>,
      mp::mp_list<On<Connecting, CredentialsChanged, None, reconnect_anew>>,
      OnEach<UplinkRestarted, Disconnected, forget, Always, Connecting, Connected, Suspect, BackingOff,
             Refused>>;
  // What comes late, or says what is known, is harmless; the uplink only answers what it was asked.
  using Refusals =
      mp::mp_list<Ignore<LinkWanted, Connecting, Connected, Suspect, BackingOff, Refused>,
                  Ignore<LinkUnwanted, Disconnected>, Reject<LinkEstablished, Connected, Suspect>,
                  Ignore<LinkFailed, Disconnected, BackingOff, Refused>,
                  Ignore<LinkLost, Disconnected, BackingOff, Refused>,
                  Ignore<LinkRefused, Disconnected, BackingOff, Refused>,
                  Ignore<PingAnswered, Disconnected, Connecting, Connected, BackingOff, Refused>,
                  Ignore<PingMissed, Disconnected, Connecting, BackingOff, Refused>,
                  Ignore<UplinkTimerFired, Disconnected>,
                  Ignore<CredentialsChanged, Disconnected, Connected, Suspect>,
                  Ignore<UplinkRestarted, Disconnected>>;
  using Demands = mp::mp_list<>;
  static constexpr PairTable<Rows, Refusals, States, Inputs> kPairs{};
};
static_assert(Table::kPairs.whole(),
              "every (state, input) pair is a row, a listed ignore or a listed rejection");
static_assert(only_last_unguarded<Table::Rows>(), "an unguarded row hides those below it");
static_assert(all_reachable<Table::Rows, Table::States>(), "a state that no row leads to");
static_assert(all_stored<Table::States>(), "a state without a stored id of its own");

Step<UplinkLife> step_traced(const UplinkLife& life, const UplinkInput& input, const UplinkContext& context,
                             RowTrace& trace);

}  // namespace decklog::statemachines::uplink
