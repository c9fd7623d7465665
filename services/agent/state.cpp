#include "services/agent/state.hpp"

#include <boost/json.hpp>

#include "services/agent/stored_deployment.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::agent {
namespace {

namespace json = boost::json;

constexpr std::uint32_t kAnyWork = statemachines::kPull | statemachines::kCreate | statemachines::kStart |
                                   statemachines::kStop | statemachines::kRemove;

ModuleRecord& record(AgentState& state, const ModuleName& name) {
  return state.modules[name];
}

// Only the document in force, the last good one and the newest candidate are worth their memory.
void forget_documents(AgentState& state, const std::string& newest) {
  std::erase_if(state.documents, [&](const auto& entry) {
    return entry.first != newest && entry.first != state.deployment.hash &&
           entry.first != state.deployment.good_hash;
  });
}

void fold(AgentState& state, const Envelope& event, const ServiceStarted& fact) {
  state.boot = event.boot;
  state.version = fact.version;
  state.clean_shutdown = false;
  if (auto settings = parse_core_settings(fact.settings)) state.settings = std::move(*settings);
  state.engines.clear();
}

void fold(AgentState& state, const Envelope&, const ServiceStopped&) {
  state.clean_shutdown = true;
}

void fold(AgentState& state, const Envelope&, const DesiredReceived& fact) {
  if (fact.problem_code != 0) return;
  auto parsed = parse_stored_deployment(fact.document);
  if (!parsed) return;
  auto document = std::make_shared<Document>();
  document->version = fact.version;
  document->hash = fact.hash;
  document->text = fact.document;
  document->deployment = std::move(*parsed);
  state.documents[fact.hash] = std::move(document);
  forget_documents(state, fact.hash);
}

void fold(AgentState& state, const Envelope&, const DeploymentTransitioned& fact) {
  state.deployment = fact.life;
  forget_documents(state, fact.life.hash);
}

void fold(AgentState& state, const Envelope&, const ModuleObserved& fact) {
  ModuleRecord& module = record(state, fact.module);
  const bool new_run =
      module.observed.runtime_id != fact.runtime_id || module.observed.started_at_ns != fact.started_at_ns;
  if (new_run) {
    module.probe_failures = module.probe_passes = 0;
    module.startup_passed = false;
  }
  if (module.runtime == 0) module.runtime = fact.runtime;
  module.observed = fact;
  if (fact.finished_at_ns != 0) module.last_exit.ns = fact.finished_at_ns;
  module.observed.runtime = module.runtime;
}

void fold(AgentState& state, const Envelope& event, const WorkFinished& fact) {
  const auto found = state.modules.find(fact.module);
  if (found == state.modules.end()) return;
  ModuleRecord& module = found->second;
  module.last_error = fact.code == 0 ? "" : fact.message;
  if (fact.work == PendingWork::kPull) {
    module.pull = {};
    if (fact.code == 0) module.image_digest = fact.detail;
  }
  if (fact.work == PendingWork::kStart && fact.code == 0 && module.life.restart_count > 0)
    module.last_restart = event.time.wall;
}

void fold(AgentState& state, const Envelope&, const PullProgressed& fact) {
  const auto found = state.modules.find(fact.module);
  if (found != state.modules.end()) found->second.pull = fact;
}

void fold(AgentState& state, const Envelope&, const ProbeFinished& fact) {
  const auto found = state.modules.find(fact.module);
  if (found == state.modules.end()) return;
  ModuleRecord& module = found->second;
  module.probe_failures = fact.passed ? 0 : module.probe_failures + 1;
  module.probe_passes = fact.passed ? module.probe_passes + 1 : 0;
  if (fact.passed && fact.probe == "startup") {
    module.startup_passed = true;
    module.probe_passes = 0;
  }
}

void fold(AgentState& state, const Envelope& event, const ModuleTransitioned& fact) {
  if (fact.to == ModuleState::kRemoved) {
    state.modules.erase(fact.module);
    return;
  }
  ModuleRecord& module = record(state, fact.module);
  if (fact.to == ModuleState::kRunning && fact.from != fact.to) module.last_error.clear();
  module.life = fact.life;
  module.last_decision = event.sequence;
  module.next_try = {};
  if (fact.life.deadline_mono_ns != 0) {
    module.next_try.ns = event.time.wall.ns + fact.life.deadline_mono_ns - event.time.mono.ns;
  }
  if (fact.effects & kAnyWork) module.work_asked_by = event.sequence;
  const auto* desired = state.desired(fact.module);
  // While something exists it lives where it was made, whatever the newest document says.
  if (desired && (!fact.life.exists || module.runtime == 0))
    module.runtime = static_cast<std::uint8_t>(desired->kind);
  // Where it lives is told by its observation, also before the first: a snapshot has no other place for it.
  module.observed.module = fact.module;
  module.observed.runtime = module.runtime;
}

void fold(AgentState& state, const Envelope&, const EngineObserved& fact) {
  state.engines[fact.runtime] = fact.available;
}
void fold(AgentState& state, const Envelope&, const UplinkTransitioned& fact) {
  state.uplink = fact.life;
}
void fold(AgentState& state, const Envelope&, const ReportAcknowledged& fact) {
  if (fact.code == 0) state.report = {fact.through, fact.revision, fact.digest};
}

// Facts that leave no trace in the state.
template <class Other>
void fold(AgentState&, const Envelope&, const Other&) {}

Envelope snapshot_event(const AgentState& state, Fact fact) {
  Envelope event;
  event.boot = state.boot;
  event.fact = std::move(fact);
  return event;
}

std::vector<Envelope> document_events(const AgentState& state) {
  std::vector<Envelope> events;
  for (const auto& [hash, document] : state.documents) {
    DesiredReceived fact{
        .source = "store", .version = document->version, .document = document->text, .hash = hash};
    events.push_back(snapshot_event(state, fact));
    // Each document is pinned by a deployment fact before the next one is folded, so that none is forgotten.
    DeploymentTransitioned pin;
    pin.life.hash = state.deployment.hash;
    pin.life.good_hash = state.deployment.good_hash;
    events.push_back(snapshot_event(state, pin));
  }
  return events;
}

}  // namespace

const Document* AgentState::in_force() const {
  const auto found = documents.find(deployment.hash);
  return deployment.hash.empty() || found == documents.end() ? nullptr : found->second.get();
}

const DesiredModule* AgentState::desired(const ModuleName& name) const {
  const Document* document = in_force();
  if (!document) return nullptr;
  const auto found = document->deployment.modules.find(name);
  return found == document->deployment.modules.end() ? nullptr : &found->second;
}

void apply(AgentState& state, const Envelope& event) {
  std::visit([&](const auto& fact) { fold(state, event, fact); }, event.fact);
  if (event.sequence > state.through) state.through = event.sequence;
}

MonoTime deployment_timer(const DeploymentLife& life) {
  const bool waits = life.state == DeploymentState::kApplying || life.state == DeploymentState::kFailed;
  if (!waits || life.healthy_since_mono_ns == 0) return {life.deadline_mono_ns};
  const MonoTime healthy{life.healthy_since_mono_ns + std::max<std::int64_t>(life.min_healthy_ns, 0)};
  return life.deadline_mono_ns == 0 ? healthy : std::min(healthy, MonoTime{life.deadline_mono_ns});
}

std::vector<Envelope> as_events(const AgentState& state) {
  std::vector<Envelope> events;
  ServiceStarted started{.service = "agent", .version = state.version, .device = state.settings.device};
  started.settings = to_json(state.settings);
  events.push_back(snapshot_event(state, started));
  for (auto& event : document_events(state)) events.push_back(std::move(event));
  DeploymentTransitioned deployment;
  deployment.from = deployment.to = state.deployment.state;
  deployment.life = state.deployment;
  events.push_back(snapshot_event(state, deployment));
  for (const auto& [name, module] : state.modules) {
    if (module.last_exit.ns != module.observed.finished_at_ns) {
      ModuleObserved ended = module.observed;
      ended.finished_at_ns = module.last_exit.ns;
      events.push_back(snapshot_event(state, ended));
    }
    events.push_back(snapshot_event(state, module.observed));
    ModuleTransitioned life;
    life.module = name;
    life.from = life.to = module.life.state;
    life.life = module.life;
    // Two steps, so that both the asking and the newest decision keep their sequence.
    life.effects = kAnyWork;
    life.life.restart_count = std::max(module.life.restart_count, 1u);  // lets the last restart be told
    events.push_back(snapshot_event(state, life));
    events.back().sequence = module.work_asked_by;
    if (module.last_restart.ns != 0) {
      events.push_back(snapshot_event(state, WorkFinished{.module = name, .work = PendingWork::kStart}));
      events.back().time.wall = module.last_restart;
    }
    life.effects = 0;
    life.life = module.life;
    events.push_back(snapshot_event(state, life));
    events.back().sequence = module.last_decision;
    events.back().time = {module.next_try, {module.life.deadline_mono_ns}};
    if (module.startup_passed)
      events.push_back(
          snapshot_event(state, ProbeFinished{.module = name, .probe = "startup", .passed = true}));
    for (std::uint32_t i = 0; i < std::min(module.probe_failures, 1000u); ++i) {
      events.push_back(
          snapshot_event(state, ProbeFinished{.module = name, .probe = "liveness", .passed = false}));
    }
    for (std::uint32_t i = 0; i < std::min(module.probe_passes, 1000u); ++i) {
      events.push_back(
          snapshot_event(state, ProbeFinished{.module = name, .probe = "liveness", .passed = true}));
    }
    if (!module.image_digest.empty()) {
      events.push_back(snapshot_event(
          state, WorkFinished{.module = name, .work = PendingWork::kPull, .detail = module.image_digest}));
    }
    if (!module.last_error.empty()) {
      events.push_back(
          snapshot_event(state, WorkFinished{.module = name, .code = 17, .message = module.last_error}));
    }
    if (!module.pull.module.empty()) events.push_back(snapshot_event(state, module.pull));
  }
  UplinkTransitioned uplink;
  uplink.from = uplink.to = state.uplink.state;
  uplink.life = state.uplink;
  events.push_back(snapshot_event(state, uplink));
  events.push_back(snapshot_event(state, ReportAcknowledged{.through = state.report.through,
                                                            .revision = state.report.revision,
                                                            .digest = state.report.digest}));
  for (const auto& [kind, there] : state.engines)
    events.push_back(snapshot_event(state, EngineObserved{.runtime = kind, .available = there}));
  if (state.clean_shutdown) events.push_back(snapshot_event(state, ServiceStopped{}));
  return events;
}

std::string to_json(const CoreSettings& settings) {
  const auto& up = settings.uplink;
  return json::serialize(json::object{{"device", settings.device},
                                      {"uplinkWanted", settings.uplink_wanted},
                                      {"uplinkBackoffFirstNs", up.backoff_first.count()},
                                      {"uplinkBackoffCapNs", up.backoff_cap.count()},
                                      {"uplinkRefusedRetryNs", up.refused_retry.count()},
                                      {"uplinkConnectDeadlineNs", up.connect_deadline.count()},
                                      {"uplinkPingEveryNs", up.ping_every.count()},
                                      {"uplinkPingsMissedMax", up.pings_missed_max},
                                      {"uplinkStableAfterNs", up.stable_after.count()}});
}

Result<CoreSettings> parse_core_settings(std::string_view text) {
  json::error_code code;
  const json::value value = json::parse(text, code);
  if (code || !value.is_object()) return error(Errc::kMalformed, "core settings are not a JSON object");
  const auto& object = value.get_object();
  CoreSettings settings;
  const auto ns = [&](const char* name, Duration& into) {
    if (const auto* found = object.if_contains(name); found && found->is_int64())
      into = Duration(found->get_int64());
  };
  if (const auto* found = object.if_contains("device"); found && found->is_string())
    settings.device = found->get_string().c_str();
  if (const auto* found = object.if_contains("uplinkWanted"); found && found->is_bool())
    settings.uplink_wanted = found->get_bool();
  ns("uplinkBackoffFirstNs", settings.uplink.backoff_first);
  ns("uplinkBackoffCapNs", settings.uplink.backoff_cap);
  ns("uplinkRefusedRetryNs", settings.uplink.refused_retry);
  ns("uplinkConnectDeadlineNs", settings.uplink.connect_deadline);
  ns("uplinkPingEveryNs", settings.uplink.ping_every);
  ns("uplinkStableAfterNs", settings.uplink.stable_after);
  if (const auto* found = object.if_contains("uplinkPingsMissedMax"); found && found->is_int64()) {
    settings.uplink.pings_missed_max = static_cast<std::uint32_t>(found->get_int64());
  }
  return settings;
}

}  // namespace decklog::agent
