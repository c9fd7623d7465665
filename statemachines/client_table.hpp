// The table of ClientSession: guards, actions, rows.
#pragma once

#include <algorithm>

#include "statemachines/client_machine.hpp"
#include "statemachines/rows.hpp"

namespace decklog::statemachines::client {

struct Run {
  ClientLife life;
  const ClientContext* context = nullptr;
  std::uint32_t effects = 0;
  RowTrace trace;
};

inline bool window_over(const Run& run) {
  return run.life.window_start_mono_ns == 0 ||
         run.context->now.ns - run.life.window_start_mono_ns >= run.context->settings.storm_window.count();
}
inline void count_connect(Run& run) {
  ClientLife& life = run.life;
  if (window_over(run)) {
    life.window_start_mono_ns = std::max<std::int64_t>(run.context->now.ns, 1);
    life.connects = 1;
    life.storming = false;
    return;
  }
  ++life.connects;
  life.storming = life.connects > run.context->settings.storm_connects;
}
inline void connection_over(Run& run) {
  run.life.connected_since_mono_ns = 0;
  run.effects |= kReportClient;
}

// ---- guards -------------------------------------------------------------------------------------

// This connect would be one too many in its window.
struct storms {
  bool operator()(const ClientArrived&, const Run& run) const {
    return !window_over(run) && run.life.connects >= run.context->settings.storm_connects;
  }
};
struct keeps_session {
  template <class Input>
  bool operator()(const Input&, const Run& run) const {
    return run.life.persistent;
  }
};

// ---- actions ------------------------------------------------------------------------------------

struct arrive {
  void operator()(const ClientArrived&, Run& run) const {
    count_connect(run);
    run.effects |= kAuthenticate;
  }
};
// Not even looked at: two clients of one identity would otherwise throw each other out for ever.
struct put_off {
  void operator()(const ClientArrived&, Run& run) const {
    if (!run.life.storming) run.effects |= kReportClient;
    count_connect(run);
    run.effects |= kDelayConnect;
  }
};
struct accept {
  void operator()(const ClientAuthenticated& client, Run& run) const {
    if (run.life.persistent && !client.persistent) run.effects |= kDropSession;
    run.life.persistent = client.persistent;
    run.life.refusals = 0;
    run.life.connected_since_mono_ns = std::max<std::int64_t>(run.context->now.ns, 1);
    run.effects |= kAcceptClient | kReportClient;
  }
};
struct take_over {
  void operator()(const ClientAuthenticated& client, Run& run) const {
    accept{}(client, run);
    run.effects |= kCloseOldConnection;
  }
};
struct refuse {
  void operator()(const ClientRefusedAuth&, Run& run) const {
    ++run.life.refusals;
    run.effects |= kRefuseClient | kReportClient;
  }
};
// The newcomer was refused; whoever is connected stays.
struct refuse_newcomer {
  void operator()(const ClientRefusedAuth&, Run& run) const {
    ++run.life.refusals;
    run.effects |= kRefuseClient;
  }
};
struct suspend {
  template <class Input>
  void operator()(const Input&, Run& run) const {
    connection_over(run);
  }
};
struct end {
  template <class Input>
  void operator()(const Input&, Run& run) const {
    connection_over(run);
    run.effects |= kDropSession;
  }
};
struct leave {  // before it was accepted: no session to drop
  template <class Input>
  void operator()(const Input&, Run&) const {}
};
struct yield_to_newer {
  void operator()(const ClientReplaced&, Run& run) const {
    run.life.connected_since_mono_ns = 0;
    run.effects |= kCloseOldConnection;
  }
};
struct drop_session {
  void operator()(const ClientSessionEnded&, Run& run) const {
    run.life.persistent = false;
    run.effects |= kDropSession | kReportClient;
  }
};
struct forget_session {  // connected: nothing will be kept when it goes
  void operator()(const ClientSessionEnded&, Run& run) const { run.life.persistent = false; }
};
struct disable {
  void operator()(const ClientDisabled&, Run& run) const {
    run.life.persistent = false;
    connection_over(run);
    run.effects |= kDropSession;
  }
};
struct disable_waiting {
  void operator()(const ClientDisabled& disabled, Run& run) const {
    disable{}(disabled, run);
    run.effects |= kRefuseClient;
  }
};
struct disable_connected {
  void operator()(const ClientDisabled& disabled, Run& run) const {
    disable{}(disabled, run);
    run.effects |= kCloseOldConnection;
  }
};
// Monotonic times of another boot mean nothing, and a restart of ours is no storm of theirs.
struct restart {
  void operator()(const HubRestarted&, Run& run) const {
    run.life.connects = 0;
    run.life.storming = false;
    run.life.window_start_mono_ns = 0;
    connection_over(run);
  }
};

// ---- the table ----------------------------------------------------------------------------------

struct Closed : State<ClientState::kClosed> {};
struct Connecting : State<ClientState::kConnecting> {};  // put off while storming
struct Authenticating : State<ClientState::kAuthenticating> {};
struct Connected : State<ClientState::kConnected> {};
struct Suspended : State<ClientState::kSuspended> {};
struct Refused : State<ClientState::kRefused> {};
// Between the old connection's end and the new one's start. The old one's end is told once, as
// ClientReplaced: what ends after it is the new one, before it was answered.
struct TakenOver : State<ClientState::kTakenOver> {};

struct Table {
  using States = mp::mp_list<Closed, Connecting, Authenticating, Connected, Suspended, Refused, TakenOver>;
  using Inputs = mp::mp_rename<ClientInput, mp::mp_list>;
  using Rows = mp::mp_append<
      OnEach<ClientArrived, Connecting, put_off, storms, Closed, Suspended, Refused>,
      OnEach<ClientArrived, None, put_off, storms, Connecting, Authenticating, Connected, TakenOver>,
      OnEach<ClientArrived, Authenticating, arrive, Always, Closed, Suspended, Refused, Connecting>,
      OnEach<ClientArrived, None, arrive, Always, Authenticating, Connected, TakenOver>,
      OnEach<ClientAuthenticated, Connected, accept, Always, Authenticating, TakenOver>,
      mp::mp_list<On<Connected, ClientAuthenticated, None, take_over>,
                  On<Authenticating, ClientRefusedAuth, Refused, refuse>,
                  On<TakenOver, ClientRefusedAuth, Refused, refuse>,
                  On<Connected, ClientRefusedAuth, None, refuse_newcomer>,
                  On<Connected, ClientReplaced, TakenOver, yield_to_newer>>,
      OnEach<ClientDisconnected, Suspended, suspend, keeps_session, Connected, TakenOver>,
      OnEach<ClientDisconnected, Closed, end, Always, Connected, TakenOver>,
      OnEach<ClientLost, Suspended, suspend, keeps_session, Connected, TakenOver>,
      OnEach<ClientLost, Closed, end, Always, Connected, TakenOver>,
      OnEach<ClientDisconnected, Suspended, leave, keeps_session, Connecting, Authenticating, Refused>,
      OnEach<ClientDisconnected, Closed, leave, Always, Connecting, Authenticating, Refused>,
      OnEach<ClientLost, Suspended, leave, keeps_session, Connecting, Authenticating, Refused>,
      OnEach<ClientLost, Closed, leave, Always, Connecting, Authenticating, Refused>,
      mp::mp_list<On<Suspended, ClientSessionEnded, Closed, drop_session>>,
      OnEach<ClientSessionEnded, None, forget_session, keeps_session, Connecting, Authenticating, Connected,
             Refused, TakenOver>,
      mp::mp_list<On<Suspended, ClientDisabled, Refused, disable>>,
      OnEach<ClientDisabled, Refused, disable_waiting, Always, Connecting, Authenticating>,
      OnEach<ClientDisabled, Refused, disable_connected, Always, Connected, TakenOver>,
      OnEach<HubRestarted, Suspended, restart, keeps_session, Connecting, Authenticating, Connected, Refused,
             TakenOver>,
      OnEach<HubRestarted, Closed, restart, Always, Connecting, Authenticating, Connected, Refused,
             TakenOver>>;
  using Refusals =
      mp::mp_list<Reject<ClientAuthenticated, Closed, Connecting, Suspended, Refused>,
                  Reject<ClientRefusedAuth, Closed, Connecting, Suspended, Refused>,
                  Ignore<ClientReplaced, Closed, Connecting, Authenticating, Suspended, Refused, TakenOver>,
                  Ignore<ClientDisconnected, Closed, Suspended>, Ignore<ClientLost, Closed, Suspended>,
                  Ignore<ClientSessionEnded, Closed>, Ignore<ClientDisabled, Closed, Refused>,
                  Ignore<HubRestarted, Closed, Suspended>>;
  using Demands = mp::mp_list<>;
  static constexpr PairTable<Rows, Refusals, States, Inputs> kPairs{};
};
static_assert(Table::kPairs.whole(),
              "every (state, input) pair is a row, a listed ignore or a listed rejection");
static_assert(only_last_unguarded<Table::Rows>(), "an unguarded row hides those below it");
static_assert(all_reachable<Table::Rows, Table::States>(), "a state that no row leads to");
static_assert(all_stored<Table::States>(), "a state without a stored id of its own");

Step<ClientLife> step_traced(const ClientLife& life, const ClientInput& input, const ClientContext& context,
                             RowTrace& trace);

}  // namespace decklog::statemachines::client
