// The agent's whole state: a fold over its log, nothing else. Values only; copyable; one owner (the core).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/event.hpp"
#include "services/agent/deployment.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::agent {

// What the core decides by beside events. Logged in ServiceStarted.settings; replay reads it from there.
struct CoreSettings {
  std::string device;
  statemachines::UplinkSettings uplink;
  bool uplink_wanted = true;
};
std::string to_json(const CoreSettings& settings);
Result<CoreSettings> parse_core_settings(std::string_view json);

// A desired document in its redacted form, parsed once.
struct Document {
  std::uint64_t version = 0;
  std::string hash;
  std::string text;
  Deployment deployment;
};

struct ModuleRecord {
  ModuleLife life;
  ModuleObserved observed;           // last word of the runtime
  std::uint8_t runtime = 0;          // runtime::RuntimeKind it runs under; 0 = not known yet
  std::uint32_t probe_failures = 0;  // in a row
  std::uint32_t probe_passes = 0;
  bool startup_passed = false;  // startup probe passed since the last start
  PullProgressed pull;          // of the pull in flight
  std::string image_digest;
  std::string last_error;  // of the last failed work, for statusDescription; empty after a success
  WallTime last_restart;   // {0} = never restarted
  WallTime last_exit;      // {0} = never seen to end; kept while it runs again
  WallTime next_try;       // when the armed timer fires, as wall time at the time of the decision
  Sequence last_decision;  // the newest ModuleTransitioned, cause of what follows
  Sequence work_asked_by;  // the decision that asked for the work in flight
  friend bool operator==(const ModuleRecord&, const ModuleRecord&) = default;
};

struct ReportCheckpoint {
  std::uint64_t through = 0;  // everything up to here is in the document the fleet holds
  std::uint64_t revision = 0;
  std::string digest;
};

struct AgentState {
  CoreSettings settings;
  BootId boot;
  Sequence through;     // newest event folded
  std::string version;  // of the build that runs
  DeploymentLife deployment;
  std::map<std::string, std::shared_ptr<const Document>>
      documents;  // by hash: in force, last good, candidate
  std::map<ModuleName, ModuleRecord> modules;
  std::map<std::uint8_t, bool> engines;  // runtime kind -> there
  UplinkLife uplink;
  ReportCheckpoint report;
  bool clean_shutdown = true;

  // The document being applied; null before the first accepted one.
  const Document* in_force() const;
  const DesiredModule* desired(const ModuleName& name) const;
};

// Folds one event into the state. Total: every fact type has a meaning here, if only "nothing".
void apply(AgentState& state, const Envelope& event);

// When the timer "deployment" has to fire: healthy long enough or out of time, whichever is first. {0} = not
// armed.
MonoTime deployment_timer(const DeploymentLife& life);

// Facts that, folded into an empty state, give this one again: the snapshot's content.
std::vector<Envelope> as_events(const AgentState& state);

}  // namespace decklog::agent
