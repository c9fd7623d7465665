// What the hub shows of itself: reported document, clients, queues, metrics.
#include <boost/json.hpp>

#include "events/build.hpp"
#include "observability/exposition.hpp"
#include "services/hub/hub_parts.hpp"

namespace decklog::hub {

namespace json = boost::json;

std::string Hub::reported() const {
  json::object clients;
  for (const auto& [name, record] : state().clients) {
    const bool connected = record.life.state == ClientState::kConnected;
    clients[name] = json::object{
        {"status", connected ? "Connected" : "Disconnected"},
        {connected ? "lastConnectedTimeUtc" : "lastDisconnectedTimeUtc", to_rfc3339(record.changed)}};
  }
  return json::serialize(json::object{
      {"schemaVersion", "1.1"},
      {"version", json::object{{"version", kVersion}, {"build", build_id()}}},
      {"lastDesiredVersion", parts_->desired_version},
      {"lastDesiredStatus",
       json::object{{"code", parts_->desired_code}, {"description", parts_->desired_description}}},
      {"clients", std::move(clients)}});
}

std::string Hub::clients_json() const {
  json::array out;
  for (const auto& [name, record] : state().clients) {
    json::object line{{"client", name},
                      {"state", name_of(record.life.state)},
                      {"since", to_rfc3339(record.changed)},
                      {"peer", record.peer},
                      {"cause", record.cause},
                      {"storming", record.life.storming}};
    for (const auto& now : parts_->head->clients()) {
      if (now.client.client_id() != name) continue;
      json::array filters;
      for (const auto& filter : now.subscriptions) filters.emplace_back(filter);
      line["subscriptions"] = std::move(filters);
    }
    out.push_back(std::move(line));
  }
  return json::serialize(
      json::object{{"clients", std::move(out)}, {"uplink", name_of(state().uplink.state)}});
}

std::string Hub::queues_json() const {
  json::array queues, routes;
  for (const auto& queue :
       parts_->messages->queues(const_cast<loop::SystemSurroundings&>(surroundings_).now())) {
    const auto& c = queue.counters;
    json::object dropped;
    for (const auto& drop : queue.dropped) dropped[drop.reason] = drop.count;
    queues.push_back(
        json::object{{"queue", queue.name.name},
                     {"kind", queue.name.kind == persistence::QueueKind::kEndpoint ? "endpoint" : "session"},
                     {"priority", queue.name.priority},
                     {"queued", c.queued},
                     {"bytes", c.queued_bytes},
                     {"accepted", c.accepted},
                     {"delivered", c.delivered},
                     {"expired", c.expired},
                     {"dropped", c.dropped},
                     {"droppedBy", std::move(dropped)},
                     {"oldest", to_text(queue.oldest_age)},
                     {"conserved", c.conserved()}});
  }
  for (const auto& route : parts_->messages->routes()) {
    const auto& c = route.counters;
    routes.push_back(json::object{{"route", route.name},
                                  {"accepted", c.accepted},
                                  {"delivered", c.delivered},
                                  {"expired", c.expired},
                                  {"dropped", c.dropped},
                                  {"queued", c.queued},
                                  {"conserved", c.conserved()}});
  }
  return json::serialize(json::object{{"queues", std::move(queues)}, {"routes", std::move(routes)}});
}

std::string Hub::metrics_text() const {
  observability::Exposition out({{"iothub", config_.iothub_hostname},
                                 {"edge_device", config_.device},
                                 {"instance_number", std::to_string(journal_.report.epoch)}});
  const auto& sent = parts_->forwarder->stats();
  for (const auto& [key, count] : sent.received)
    out.add("edgehub_messages_received_total", static_cast<double>(count),
            {{"route_output", key.first}, {"id", key.second}});
  for (const auto& [to, count] : sent.sent)
    out.add("edgehub_messages_sent_total", static_cast<double>(count), {{"to", to}});
  for (const auto& [reason, count] : sent.unacknowledged)
    out.add("edgehub_messages_unack_total", static_cast<double>(count), {{"reason", reason}});
  std::map<std::string, std::uint64_t> dropped;
  for (const auto& route : parts_->messages->routes()) {
    for (const auto& drop : route.dropped) dropped[drop.reason] += drop.count;
    if (route.counters.expired != 0) dropped["ttl_expiry"] += route.counters.expired;
  }
  for (const auto& [reason, count] : dropped)
    out.add("edgehub_messages_dropped_total", static_cast<double>(count),
            {{"reason", reason == "no-route" ? "no_route" : reason}});
  for (const auto& queue :
       parts_->messages->queues(const_cast<loop::SystemSurroundings&>(surroundings_).now())) {
    if (queue.name.kind != persistence::QueueKind::kEndpoint) continue;
    const auto& c = queue.counters;
    out.add("edgehub_queue_length", static_cast<double>(c.queued),
            {{"endpoint", queue.name.name}, {"priority", std::to_string(queue.name.priority)}});
    const double difference =
        static_cast<double>(c.accepted) - static_cast<double>(c.delivered + c.expired + c.dropped + c.queued);
    out.add("decklog_hub_conservation_difference", difference,
            {{"endpoint", queue.name.name + "/" + std::to_string(queue.name.priority)}});
  }
  const auto& head = parts_->head->stats();
  out.add("edgehub_connected_clients", static_cast<double>(head.connected));
  for (const auto& [id, client] : head.clients) {
    out.add("edgehub_client_connect_success_total", static_cast<double>(client.connects), {{"id", id}});
    out.add("edgehub_client_disconnect_total", static_cast<double>(client.disconnects), {{"id", id}});
  }
  for (const auto& [reason, count] : head.connect_failed)
    out.add("edgehub_client_connect_failed_total", static_cast<double>(count), {{"reason", reason}});
  for (const auto& [key, count] : head.methods)
    out.add("edgehub_direct_methods_total", static_cast<double>(count),
            {{"from", key.first}, {"to", key.second}});
  for (const auto& [key, count] : head.get_twin)
    out.add("edgehub_gettwin_total", static_cast<double>(count), {{"source", key.first}, {"id", key.second}});
  for (const auto& [key, count] : head.reported)
    out.add("edgehub_reported_properties_total", static_cast<double>(count),
            {{"target", key.first}, {"id", key.second}});
  std::map<std::string, int> sessions;
  for (const auto& [name, record] : state().clients) ++sessions[name_of(record.life.state)];
  for (const auto& [in_state, count] : sessions)
    out.add("decklog_hub_sessions", count, {{"state", in_state}});
  out.add("decklog_uplink_state", 1, {{"state", name_of(state().uplink.state)}});
  const auto store = parts_->messages->status();
  out.add("decklog_hub_store_bytes", static_cast<double>(store.live_bytes));
  out.add("decklog_hub_store_limit_bytes", static_cast<double>(config_.hub.store_limit_bytes));
  const auto journal = journal_.journal->stats();
  out.add("decklog_journal_events_total", static_cast<double>(journal_.journal->durable_sequence().value));
  out.add("decklog_journal_bytes", static_cast<double>(journal.bytes_used));
  out.add("decklog_journal_degraded", journal.degraded ? 1 : 0);
  return out.text();
}

}  // namespace decklog::hub
