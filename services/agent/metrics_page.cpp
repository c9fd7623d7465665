#include "services/agent/metrics_page.hpp"

#include "statemachines/module_machine.hpp"

namespace decklog::agent {
namespace {

using observability::Exposition;
using observability::Labels;
using observability::Sample;
using observability::Spread;

constexpr ModuleState kLastModuleState = ModuleState::kRemoved;
constexpr DeploymentState kLastDeploymentState = DeploymentState::kRolledBack;
constexpr UplinkState kLastUplinkState = UplinkState::kRefused;

double seconds(std::int64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

double count(std::uint64_t number) {
  return static_cast<double>(number);
}

Sample spread_sample(const Spread& spread, Labels labels) {
  Sample sample{std::move(labels), spread.sum_seconds, spread.count};
  for (const double q : {0.1, 0.5, 0.9, 0.99}) sample.quantiles.emplace_back(q, spread.quantile(q));
  return sample;
}

// One series for each state there is: 1 for the one it is in.
template <class State>
void add_states(Exposition& page, const char* family, State now, State last, const Labels& labels) {
  for (unsigned number = 1; number <= static_cast<unsigned>(last); ++number) {
    const auto state = static_cast<State>(number);
    Labels with = labels;
    with.emplace_back("state", name_of(state));
    page.add(family, state == now ? 1 : 0, std::move(with));
  }
}

void add_counts(Exposition& page, const char* family, const char* label,
                const std::map<std::string, std::uint64_t>& counts) {
  for (const auto& [name, number] : counts) page.add(family, count(number), {{label, name}});
}

void add_module(Exposition& page, const MetricsView& view, const ModuleName& name,
                const ModuleRecord& record) {
  const Labels self{{"module_name", name.value}};
  add_states(page, "decklog_module_state", record.life.state, kLastModuleState, self);
  page.add("decklog_module_backoff_deadline_seconds",
           record.life.deadline_mono_ns != 0 ? seconds(record.next_try.ns) : 0, self);
  const auto found = view.tally.modules.find(name.value);
  if (found == view.tally.modules.end()) return;
  const auto& tally = found->second;
  const DesiredModule* desired = view.state.desired(name);
  const Labels versioned{{"module_name", name.value}, {"module_version", desired ? desired->version : ""}};
  page.add("edgeAgent_total_time_running_correctly_seconds", view.tally.correct_seconds(tally, view.now),
           self);
  page.add("edgeAgent_total_time_expected_running_seconds", view.tally.expected_seconds(tally, view.now),
           self);
  page.add("edgeAgent_module_start_total", count(tally.starts), versioned);
  page.add("edgeAgent_module_stop_total", count(tally.stops), versioned);
  page.add("decklog_module_transitions_total", count(tally.transitions), self);
  page.add("decklog_module_pull_seconds_total", tally.pull_seconds, self);
  page.add("decklog_module_pull_bytes_total", count(tally.pull_bytes), self);
  for (const auto& [reason, number] : tally.restarts)
    page.add("decklog_module_restarts_total", count(number),
             {{"module_name", name.value}, {"reason", reason}});
}

void add_deployment(Exposition& page, const MetricsView& view) {
  add_states(page, "decklog_deployment_state", view.state.deployment.state, kLastDeploymentState, {});
  page.add("decklog_deployment_version", count(view.state.deployment.version));
  page.add("edgeAgent_deployment_time_seconds", spread_sample(view.tally.deployments, {}));
  add_counts(page, "decklog_desired_rejected_total", "code", view.tally.desired_rejected);
  add_counts(page, "decklog_inputs_rejected_total", "machine", view.tally.inputs_rejected);
  for (const auto& [work, spread] : view.tally.work)
    page.add("edgeAgent_command_latency_seconds", spread_sample(spread, {{"command", work}}));
}

void add_uplink(Exposition& page, const MetricsView& view) {
  add_states(page, "decklog_uplink_state", view.state.uplink.state, kLastUplinkState, {});
  add_counts(page, "decklog_uplink_transitions_total", "to", view.tally.uplink_transitions);
  page.add("decklog_reported_lag_events", count(view.lag_events));
  page.add("edgeAgent_iothub_syncs_total", count(view.tally.reports));
  page.add("edgeAgent_unsuccessful_iothub_syncs_total", count(view.tally.reports_refused));
  add_counts(page, "edgeAgent_edgeagent_direct_method_invocations_count", "method_name", view.methods);
}

void add_journal(Exposition& page, const MetricsView& view) {
  const auto& journal = view.journal;
  page.add("decklog_journal_events_total", count(view.newest.value));
  page.add("decklog_journal_bytes", count(journal.bytes_used));
  page.add("decklog_journal_budget_bytes", count(journal.bytes_budget));
  page.add("decklog_journal_commit_seconds", Sample{{}, seconds(journal.commit_total_ns), journal.groups});
  page.add("decklog_journal_groups_total", count(journal.groups));
  page.add("decklog_journal_syncs_total", count(journal.syncs));
  page.add("decklog_journal_compactions_total", count(journal.compactions));
  page.add("decklog_journal_degraded", journal.degraded ? 1 : 0);
  page.add("decklog_events_not_written_total", count(view.tally.not_written));
}

void add_host(Exposition& page, const MetricsView& view) {
  const HostFacts& host = view.host;
  page.add("edgeAgent_host_uptime_seconds", host.uptime_seconds);
  page.add("edgeAgent_iotedged_uptime_seconds", seconds((view.now - view.started).count()));
  if (host.disk) {
    const Labels disk{{"disk_name", host.disk->device},
                      {"disk_filesystem", host.disk->file_system},
                      {"disk_filetype", "Unknown"}};
    page.add("edgeAgent_available_disk_space_bytes", count(host.disk->bytes_available), disk);
    page.add("edgeAgent_total_disk_space_bytes", count(host.disk->bytes_total), disk);
  }
  if (host.memory_total_bytes != 0) {
    page.add("edgeAgent_used_memory_bytes", count(host.memory_used_bytes), {{"module_name", "host"}});
    page.add("edgeAgent_total_memory_bytes", count(host.memory_total_bytes), {{"module_name", "host"}});
  }
  if (host.own_memory_bytes != 0)
    page.add("edgeAgent_used_memory_bytes", count(host.own_memory_bytes), {{"module_name", "edgeAgent"}});
  page.add("edgeAgent_metadata", 0,
           {{"edge_agent_version", view.state.version},
            {"experimental_features", ""},
            {"host_information", host.description}});
}

}  // namespace

std::string metrics_page(const MetricsView& view) {
  Exposition page(view.common);
  for (const auto& [name, record] : view.state.modules) add_module(page, view, name, record);
  add_deployment(page, view);
  add_uplink(page, view);
  add_journal(page, view);
  add_host(page, view);
  return page.text();
}

}  // namespace decklog::agent
