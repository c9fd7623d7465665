#include <array>
#include <sstream>

#include "observability/exposition.hpp"

namespace decklog::observability {
namespace {

using enum MetricType;

constexpr MetricInfo kCatalogue[] = {
    // Azure IoT Edge's names, meaning what they say.
    {"edgeAgent_total_time_running_correctly_seconds", kGauge, "module_name",
     "Time the module was as wanted since it was first deployed"},
    {"edgeAgent_total_time_expected_running_seconds", kGauge, "module_name",
     "Time the module was wanted running since it was first deployed"},
    {"edgeAgent_module_start_total", kCounter, "module_name,module_version", "Starts that succeeded"},
    {"edgeAgent_module_stop_total", kCounter, "module_name,module_version", "Ends, asked for or not"},
    {"edgeAgent_command_latency_seconds", kSummary, "command",
     "Time the runtime took for a pull, create, start, stop or remove"},
    {"edgeAgent_iothub_syncs_total", kCounter, "", "Reported documents the fleet acknowledged"},
    {"edgeAgent_unsuccessful_iothub_syncs_total", kCounter, "", "Reported documents the fleet refused"},
    {"edgeAgent_deployment_time_seconds", kSummary, "",
     "Time from an accepted deployment to every module as wanted"},
    {"edgeAgent_edgeagent_direct_method_invocations_count", kCounter, "method_name",
     "Direct methods of the agent, by name"},
    {"edgeAgent_host_uptime_seconds", kGauge, "", "Time since the device booted"},
    {"edgeAgent_iotedged_uptime_seconds", kGauge, "", "Time since the agent started"},
    {"edgeAgent_available_disk_space_bytes", kGauge, "disk_name,disk_filesystem,disk_filetype",
     "Free space where the agent keeps its data"},
    {"edgeAgent_total_disk_space_bytes", kGauge, "disk_name,disk_filesystem,disk_filetype",
     "Size of the file system the agent keeps its data on"},
    {"edgeAgent_used_memory_bytes", kGauge, "module_name", "Memory in use: host, or edgeAgent itself"},
    {"edgeAgent_total_memory_bytes", kGauge, "module_name", "Memory there is: host"},
    {"edgeAgent_metadata", kGauge, "edge_agent_version,experimental_features,host_information",
     "Always 0; the labels say what runs where"},
    // Decklog's own.
    {"decklog_module_state", kGauge, "module_name,state",
     "1 for the state the module is in, 0 for the others"},
    {"decklog_module_transitions_total", kCounter, "module_name", "Steps the module's machine took"},
    {"decklog_module_restarts_total", kCounter, "module_name,reason",
     "Times policy wanted the module back, by how it ended"},
    {"decklog_module_backoff_deadline_seconds", kGauge, "module_name",
     "Unix time of the next try, 0 when none is armed"},
    {"decklog_module_pull_seconds_total", kCounter, "module_name", "Time spent pulling"},
    {"decklog_module_pull_bytes_total", kCounter, "module_name", "Bytes pulled"},
    {"decklog_deployment_state", kGauge, "state", "1 for the state the deployment is in"},
    {"decklog_deployment_version", kGauge, "", "Version of the deployment in force"},
    {"decklog_desired_rejected_total", kCounter, "code", "Desired documents refused"},
    {"decklog_inputs_rejected_total", kCounter, "machine", "Inputs a machine refused"},
    {"decklog_uplink_state", kGauge, "state", "1 for the state the uplink is in"},
    {"decklog_uplink_transitions_total", kCounter, "to", "Steps of the uplink, by the state reached"},
    {"decklog_reported_lag_events", kGauge, "",
     "Module and deployment decisions that the fleet's copy does not show yet"},
    {"decklog_journal_events_total", kCounter, "",
     "Events in the log since its beginning (the newest sequence)"},
    {"decklog_journal_bytes", kGauge, "", "Bytes the journal uses on disk"},
    {"decklog_journal_budget_bytes", kGauge, "", "Bytes the journal may use"},
    {"decklog_journal_commit_seconds", kSummary, "",
     "Time from a group's first event to its being durable, since start"},
    {"decklog_journal_groups_total", kCounter, "", "Commit groups written since start"},
    {"decklog_journal_syncs_total", kCounter, "", "fdatasync calls since start"},
    {"decklog_journal_compactions_total", kCounter, "", "Compactions since start"},
    {"decklog_journal_degraded", kGauge, "", "1 while the store refuses events and history is not written"},
    {"decklog_events_not_written_total", kCounter, "",
     "Events lost while the store refused, as the log itself says"},
    // The hub.
    {"edgehub_messages_received_total", kCounter, "route_output,id", "Messages accepted from clients"},
    {"edgehub_messages_sent_total", kCounter, "from,to,from_route_output,to_route_input,priority",
     "Messages the receiver has"},
    {"edgehub_messages_dropped_total", kCounter, "reason,from,from_route_output",
     "Accepted messages that will not be delivered: no_route, ttl_expiry, quota, ..."},
    {"edgehub_messages_unack_total", kCounter, "reason,from,from_route_output",
     "Messages that could not be stored and were not acknowledged"},
    {"edgehub_message_size_bytes", kSummary, "id", "Bodies of messages accepted"},
    {"edgehub_message_send_duration_seconds", kSummary, "from,to,from_route_output,to_route_input",
     "Time from a message's going out to the receiver's acknowledgement"},
    {"edgehub_message_process_duration_seconds", kSummary, "from,to,priority",
     "Time from a message's being stored to the receiver's having it"},
    {"edgehub_queue_length", kGauge, "endpoint,priority", "Messages waiting, by endpoint and priority"},
    {"edgehub_connected_clients", kGauge, "", "Clients connected now"},
    {"edgehub_client_connect_success_total", kCounter, "id", "Connects accepted"},
    {"edgehub_client_connect_failed_total", kCounter, "reason,id",
     "Connects refused; id is empty for who is not known"},
    {"edgehub_client_disconnect_total", kCounter, "id", "Connections ended"},
    {"edgehub_gettwin_total", kCounter, "source,id", "Twin reads answered"},
    {"edgehub_gettwin_duration_seconds", kSummary, "source,id", "Time a twin read waited for its answer"},
    {"edgehub_reported_properties_total", kCounter, "target,id", "Reported-property patches accepted"},
    {"edgehub_reported_properties_update_duration_seconds", kSummary, "target,id",
     "Time from a reported patch to its being kept here (edge_hub), or taken by the fleet (upstream)"},
    {"edgehub_direct_methods_total", kCounter, "from,to", "Direct methods carried"},
    {"edgehub_direct_method_duration_seconds", kSummary, "from,to", "Time from call to answer"},
    {"edgehub_offline_count_total", kCounter, "id", "Times the link to the fleet was lost"},
    {"edgehub_offline_duration_seconds", kSummary, "id", "Time from losing the link to having it again"},
    {"edgehub_operation_retry_total", kCounter, "operation,id",
     "Times something had to be tried again upstream: publish, reported"},
    {"decklog_hub_route_messages_total", kCounter, "route,outcome",
     "Messages of a route: accepted, and how they ended: delivered, expired, dropped, dead_lettered"},
    {"decklog_hub_route_waiting", kGauge, "route", "Messages of a route that wait"},
    {"decklog_hub_route_losses_total", kCounter, "route,reason",
     "Accepted messages of a route that will not be delivered, by reason"},
    {"decklog_hub_route_conservation_difference", kGauge, "route",
     "accepted - delivered - expired - dropped - dead_lettered - waiting; 0 unless there is a bug"},
    {"decklog_hub_conservation_difference", kGauge, "endpoint",
     "accepted - delivered - expired - dropped - queued; 0 unless there is a bug"},
    {"decklog_hub_drain_rate", kGauge, "endpoint", "Messages a second the receiver takes, over some seconds"},
    {"decklog_hub_commit_seconds", kHistogram, "", "Time a commit group took to be written and synced"},
    {"decklog_hub_accept_seconds", kHistogram, "",
     "Time from a message's coming to its being durable, which is when it is acknowledged"},
    {"decklog_hub_sessions", kGauge, "state", "Client sessions by state"},
    {"decklog_hub_publishes_refused_total", kCounter, "reason", "PUBLISH packets of clients refused"},
    {"decklog_hub_subscribes_refused_total", kCounter, "reason", "Filters of clients refused"},
    {"decklog_hub_telemetry_malformed_total", kCounter, "", "Telemetry that could not be read"},
    {"decklog_hub_store_bytes", kGauge, "", "Bytes of messages stored"},
    {"decklog_hub_store_limit_bytes", kGauge, "", "Bytes of messages the hub may store"},
    {"decklog_hub_identities", kGauge, "", "Identity records cached"},
    {"decklog_hub_identity_age_seconds", kGauge, "",
     "Time since the cached identities were held to the fleet's; 0 while they are watched"},
    {"decklog_hub_certificate_end_seconds", kGauge, "",
     "Unix time at which the server certificate in use ends"},
    {"decklog_broker_connections", kGauge, "", "Connections of clients, local ones too"},
    {"decklog_broker_half_open", kGauge, "", "Connections without a complete CONNECT"},
    {"decklog_broker_turned_away_total", kCounter, "reason",
     "Connections ended by a bound or rule: full, half_open, protocol, keep_alive, takeover"},
    {"decklog_broker_dropped_total", kCounter, "reason",
     "Local messages dropped: slow_qos0, full_qos1, denied, retained_full"},
};

const char* type_text(MetricType type) {
  switch (type) {
    case kCounter:
      return "counter";
    case kGauge:
      return "gauge";
    case kSummary:
      return "summary";
    case kHistogram:
      return "histogram";
  }
  return "?";
}

}  // namespace

std::span<const MetricInfo> metric_catalogue() {
  return kCatalogue;
}

const MetricInfo* find_metric(std::string_view name) {
  for (const auto& entry : kCatalogue) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

std::string metric_catalogue_markdown() {
  std::ostringstream out;
  out << "| metric | type | labels | meaning |\n|---|---|---|---|\n";
  for (const auto& entry : kCatalogue) {
    out << "| `" << entry.name << "` | " << type_text(entry.type) << " | " << entry.labels << " | "
        << entry.help << " |\n";
  }
  return out.str();
}

}  // namespace decklog::observability
