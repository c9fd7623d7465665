#include "services/hub/core.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "events/codec.hpp"

namespace decklog::hub {

namespace json = boost::json;
namespace sm = statemachines;

namespace {

struct Folder {
  HubState& state;
  const Envelope& event;

  void operator()(const ServiceStarted& fact) const {
    state.boot = event.boot;
    state.device = fact.device;
    state.version = fact.version;
    state.clean_shutdown = false;
    json::error_code code;
    const auto value = json::parse(fact.settings, code);
    if (code || !value.is_object()) return;
    const auto& object = value.get_object();
    const auto ns = [&](const char* name, Duration& into) {
      if (const auto* found = object.if_contains(name); found && found->is_int64())
        into = Duration(found->get_int64());
    };
    ns("pingEveryNs", state.uplink_settings.ping_every);
    ns("backoffFirstNs", state.uplink_settings.backoff_first);
    ns("backoffCapNs", state.uplink_settings.backoff_cap);
    ns("stableAfterNs", state.uplink_settings.stable_after);
    if (const auto* found = object.if_contains("uplinkWanted"); found && found->is_bool())
      state.uplink_wanted = found->get_bool();
  }
  void operator()(const ServiceStopped&) const { state.clean_shutdown = true; }
  void operator()(const UplinkTransitioned& fact) const { state.uplink = fact.life; }
  void operator()(const ClientObserved& fact) const {
    if (const auto found = state.clients.find(fact.client); found != state.clients.end()) {
      if (!fact.peer.empty()) found->second.peer = fact.peer;
    }
  }
  void operator()(const ClientTransitioned& fact) const {
    if (fact.to == ClientState::kClosed) {
      state.clients.erase(fact.client);
      return;
    }
    ClientRecord& record = state.clients[fact.client];
    record.life = fact.life;
    record.changed = event.time.wall;
    record.cause = fact.cause;
  }
  void operator()(const ReportAcknowledged& fact) const {
    if (fact.code == 0) state.report = fact;
  }
  void operator()(const DesiredReceived& fact) const {
    state.desired = fact;
    state.desired_code = fact.problem_code;
  }
  template <class Other>
  void operator()(const Other&) const {}
};

// In the machine's window of ten seconds. Clients that take each other over reach it at once; programs that
// are started again and again by hand or by a script do not.
constexpr std::uint32_t kStormConnects = 30;

sm::ClientInput meaning(const ClientObserved& fact) {
  if (fact.observation == "connect") return sm::ClientArrived{};
  if (fact.observation == "authenticated") return sm::ClientAuthenticated{fact.detail == "persistent"};
  if (fact.observation == "refused") return sm::ClientRefusedAuth{};
  if (fact.observation == "disconnect") return sm::ClientDisconnected{};
  if (fact.observation == "taken-over") return sm::ClientReplaced{};
  if (fact.observation == "ended") return sm::ClientSessionEnded{};
  if (fact.observation == "disabled") return sm::ClientDisabled{};
  return sm::ClientLost{};
}

}  // namespace

struct HubCore::Turn {
  HubCore& core;
  const Envelope& input;
  std::vector<Envelope> decisions = {};

  void decide(Fact fact) {
    Envelope event = input;
    event.sequence = decisions.empty() ? input.sequence.next() : decisions.back().sequence.next();
    event.stream = stream_of(fact);
    event.cause = input.sequence;
    event.random = 0;
    event.fact = std::move(fact);
    core.fold(event);
    decisions.push_back(std::move(event));
  }
  void tell_client(const std::string& name, const std::string& cause, const sm::ClientInput& what) {
    const auto found = core.state_.clients.find(name);
    const ClientLife before = found == core.state_.clients.end() ? ClientLife{} : found->second.life;
    sm::ClientContext context;
    context.now = input.time.mono;
    context.random = input.random;
    context.settings.storm_connects = kStormConnects;
    const auto step = sm::step(before, what, context);
    if (step.verdict == sm::Verdict::kIgnored) return;
    if (step.verdict == sm::Verdict::kRejected) {
      return decide(InputRejected{"ClientSession", name, name_of(before.state), std::string(step.trigger),
                                  "not possible in this state"});
    }
    decide(ClientTransitioned{name, before.state, step.next.state, std::string(step.trigger), cause,
                              step.effects, step.next});
    if (core.state_.clients.size() > kMaxClientRecords) forget_oldest();
  }
  // Their sessions and identities stay where they are; a client that comes back is a new record.
  void forget_oldest() {
    std::vector<std::pair<WallTime, std::string>> gone;
    for (const auto& [name, record] : core.state_.clients) {
      if (record.life.state == ClientState::kSuspended || record.life.state == ClientState::kRefused)
        gone.emplace_back(record.changed, name);
    }
    const auto end = gone.begin() + static_cast<std::ptrdiff_t>(std::min(gone.size(), kForgottenAtOnce));
    std::partial_sort(gone.begin(), end, gone.end());
    for (auto at = gone.begin(); at != end; ++at) {
      const ClientState was = core.state_.clients.at(at->second).life.state;
      decide(ClientTransitioned{at->second, was, ClientState::kClosed, "RecordsFull", "record-limit", 0, {}});
    }
  }
  void tell_uplink(const sm::UplinkInput& what) {
    const UplinkLife before = core.state_.uplink;
    sm::UplinkContext context;
    context.now = input.time.mono;
    context.random = input.random;
    context.settings = core.state_.uplink_settings;
    const auto step = sm::step(before, what, context);
    if (step.verdict == sm::Verdict::kIgnored) return;
    if (step.verdict == sm::Verdict::kRejected) {
      return decide(InputRejected{"Uplink", "uplink", name_of(before.state), std::string(step.trigger),
                                  "not possible in this state"});
    }
    decide(UplinkTransitioned{before.state, step.next.state, std::string(step.trigger), step.effects,
                              step.next});
  }

  void operator()(const ServiceStarted&) {
    std::vector<std::string> names;
    for (const auto& [name, record] : core.state_.clients) names.push_back(name);
    for (const auto& name : names) tell_client(name, "hub-restarted", sm::HubRestarted{});
    tell_uplink(sm::UplinkRestarted{});
    if (core.state_.uplink_wanted) tell_uplink(sm::LinkWanted{});
  }
  void operator()(const ClientObserved& fact) { tell_client(fact.client, fact.cause, meaning(fact)); }
  void operator()(const LinkObserved& fact) {
    if (fact.change == 0)
      return fact.cause == 0 ? tell_uplink(sm::PingAnswered{}) : tell_uplink(sm::PingMissed{});
    if (fact.change == 1) return tell_uplink(sm::LinkEstablished{});
    if (fact.change == 2) return tell_uplink(sm::LinkLost{fact.cause});
    if (fact.change == 3) return tell_uplink(sm::LinkRefused{fact.cause});
    tell_uplink(sm::LinkFailed{fact.cause});
  }
  void operator()(const TimerFired& fact) {
    if (fact.key == "uplink") tell_uplink(sm::UplinkTimerFired{});
  }
  template <class Other>
  void operator()(const Other&) {}
};

std::vector<Envelope> HubCore::take(const Envelope& input) {
  fold(input);
  Turn turn{*this, input};
  std::visit(turn, input.fact);
  return std::move(turn.decisions);
}

void HubCore::fold(const Envelope& event) {
  std::visit(Folder{state_, event}, event.fact);
  if (state_.through < event.sequence) state_.through = event.sequence;
}

bool HubCore::matters(const Fact& input) const {
  if (const auto* fact = std::get_if<LinkObserved>(&input)) {
    const bool ping_answer = fact->change == 0 && fact->cause == 0;
    return !ping_answer || state_.uplink.missed_pings > 0 || state_.uplink.state != UplinkState::kConnected;
  }
  return true;
}

std::string HubCore::snapshot() const {
  std::string out = "DLH1";
  const auto put = [&](Fact fact, WallTime at = {}) {
    Envelope event;
    event.boot = state_.boot;
    event.time.wall = at;
    event.sequence = state_.through;
    event.fact = std::move(fact);
    const std::string bytes = encode(event);
    for (int i = 0; i < 4; ++i) out += static_cast<char>(bytes.size() >> (8 * i));
    out += bytes;
  };
  ServiceStarted started;
  started.device = state_.device;
  started.version = state_.version;
  started.settings = settings_json(state_);
  put(started);
  put(UplinkTransitioned{state_.uplink.state, state_.uplink.state, "", 0, state_.uplink});
  if (!state_.desired.document.empty()) put(state_.desired);
  if (state_.report.through != 0) put(state_.report);
  for (const auto& [name, record] : state_.clients)
    put(ClientTransitioned{name, record.life.state, record.life.state, "", record.cause, 0, record.life},
        record.changed);
  return out;
}

Status HubCore::restore(std::string_view bytes) {
  if (!bytes.starts_with("DLH1")) return error(Errc::kUnsupported, "not a snapshot of the hub");
  bytes.remove_prefix(4);
  while (!bytes.empty()) {
    if (bytes.size() < 4) return error(Errc::kCorrupt, "snapshot ends early");
    std::size_t size = 0;
    for (int i = 3; i >= 0; --i)
      size = size << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
    bytes.remove_prefix(4);
    if (size > bytes.size()) return error(Errc::kCorrupt, "snapshot ends early");
    const auto event = decode(bytes.substr(0, size));
    if (!event) return event.error();
    fold(*event);
    bytes.remove_prefix(size);
  }
  return {};
}

std::string settings_json(const HubState& state) {
  const auto& up = state.uplink_settings;
  return json::serialize(json::object{{"uplinkWanted", state.uplink_wanted},
                                      {"pingEveryNs", up.ping_every.count()},
                                      {"backoffFirstNs", up.backoff_first.count()},
                                      {"backoffCapNs", up.backoff_cap.count()},
                                      {"stableAfterNs", up.stable_after.count()}});
}

}  // namespace decklog::hub
