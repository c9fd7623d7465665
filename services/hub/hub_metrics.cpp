// The hub's page for Prometheus. Families and their labels: observability/catalogue.cpp.
#include "observability/exposition.hpp"
#include "services/hub/hub_parts.hpp"
#include "services/workload/edge_ca.hpp"

namespace decklog::hub {
namespace {

using observability::Exposition;
using observability::Labels;
using persistence::Counters;

double number(std::uint64_t count) {
  return static_cast<double>(count);
}

// One sample for each key; the labels in the key's order.
template <std::size_t N, class Value, std::size_t Kept, class Show>
void each(const observability::Series<N, Value, Kept>& series, const std::array<const char*, N>& labels,
          const Show& show) {
  for (const auto& [key, value] : series) {
    Labels own;
    for (std::size_t i = 0; i < N; ++i) own.emplace_back(labels[i], key[i]);
    show(value, std::move(own));
  }
}

template <std::size_t N, std::size_t Kept>
void counts(Exposition& page, const char* family, const observability::Series<N, std::uint64_t, Kept>& series,
            const std::array<const char*, N>& labels) {
  each(series, labels,
       [&](std::uint64_t count, Labels own) { page.add(family, number(count), std::move(own)); });
}

template <std::size_t N, class Buckets, std::size_t Kept>
void summaries(Exposition& page, const char* family,
               const observability::Series<N, observability::Histogram<Buckets>, Kept>& series,
               const std::array<const char*, N>& labels) {
  each(series, labels, [&](const auto& value, Labels own) {
    page.add(family, observability::summary_of(value, std::move(own)));
  });
}

void add_messages(Exposition& page, const ForwarderStats& stats) {
  counts(page, "edgehub_messages_received_total", stats.received, {"route_output", "id"});
  counts(page, "edgehub_messages_sent_total", stats.sent,
         {"from", "to", "from_route_output", "to_route_input", "priority"});
  counts(page, "edgehub_messages_dropped_total", stats.dropped, {"reason", "from", "from_route_output"});
  counts(page, "edgehub_messages_unack_total", stats.unacknowledged, {"reason", "from", "from_route_output"});
  summaries(page, "edgehub_message_size_bytes", stats.sizes, {"id"});
  summaries(page, "edgehub_message_send_duration_seconds", stats.send_seconds,
            {"from", "to", "from_route_output", "to_route_input"});
  summaries(page, "edgehub_message_process_duration_seconds", stats.process_seconds,
            {"from", "to", "priority"});
  page.add("decklog_hub_accept_seconds", observability::histogram_of(stats.accept_seconds, {}));
  page.add("decklog_hub_commit_seconds", observability::histogram_of(stats.commit_seconds, {}));
}

double difference(const Counters& c) {
  return number(c.accepted) - number(c.delivered + c.expired + c.dropped + c.queued);
}

// Routes come from the fleet's document: those beyond the bound are summed up as one.
struct RouteSum {
  Counters counters;
  std::uint64_t dead = 0;
};

void add_routes(Exposition& page, const std::vector<persistence::RouteStatus>& routes) {
  observability::Series<1, RouteSum> sums;
  observability::Series<2, std::uint64_t> losses;
  for (const auto& route : routes) {
    const auto& c = route.counters;
    auto& sum = sums.at({route.name});
    sum.counters.accepted += c.accepted;
    sum.counters.delivered += c.delivered;
    sum.counters.expired += c.expired;
    sum.counters.dropped += c.dropped;
    sum.counters.queued += c.queued;
    for (const auto& drop : route.dropped) {
      losses.at({route.name, metric_reason(drop.reason)}) += drop.count;
      if (is_dead_letter(drop.reason)) sum.dead += drop.count;
    }
    if (c.expired != 0) losses.at({route.name, metric_reason("expired")}) += c.expired;
  }
  for (const auto& [key, sum] : sums) {
    const auto& c = sum.counters;
    const auto add = [&](const char* outcome, std::uint64_t count) {
      page.add("decklog_hub_route_messages_total", number(count), {{"route", key[0]}, {"outcome", outcome}});
    };
    add("accepted", c.accepted);
    add("delivered", c.delivered);
    add("expired", c.expired);
    add("dropped", c.dropped - std::min(sum.dead, c.dropped));
    add("dead_lettered", sum.dead);
    page.add("decklog_hub_route_waiting", number(c.queued), {{"route", key[0]}});
    page.add("decklog_hub_route_conservation_difference", difference(c), {{"route", key[0]}});
  }
  counts(page, "decklog_hub_route_losses_total", losses, {"route", "reason"});
}

void add_queues(Exposition& page, const std::vector<persistence::QueueStatus>& queues) {
  for (const auto& queue : queues) {
    if (queue.name.kind != persistence::QueueKind::kEndpoint) continue;
    const std::string priority = std::to_string(queue.name.priority);
    page.add("edgehub_queue_length", number(queue.counters.queued),
             {{"endpoint", queue.name.name}, {"priority", priority}});
    page.add("decklog_hub_conservation_difference", difference(queue.counters),
             {{"endpoint", queue.name.name + "/" + priority}});
  }
}

void add_clients(Exposition& page, const HeadStats& stats) {
  page.add("edgehub_connected_clients", number(stats.connected));
  each(stats.clients, {"id"}, [&](const HeadStats::Client& client, const Labels& own) {
    page.add("edgehub_client_connect_success_total", number(client.connects), own);
    page.add("edgehub_client_disconnect_total", number(client.disconnects), own);
  });
  counts(page, "edgehub_client_connect_failed_total", stats.connect_failed, {"reason", "id"});
  const auto timed = [&](const char* total, const char* duration, const auto& series, const auto& labels) {
    each(series, labels, [&](const auto& took, Labels own) { page.add(total, number(took.count), own); });
    summaries(page, duration, series, labels);
  };
  using Two = std::array<const char*, 2>;
  timed("edgehub_gettwin_total", "edgehub_gettwin_duration_seconds", stats.get_twin, Two{"source", "id"});
  timed("edgehub_reported_properties_total", "edgehub_reported_properties_update_duration_seconds",
        stats.reported, Two{"target", "id"});
  timed("edgehub_direct_methods_total", "edgehub_direct_method_duration_seconds", stats.methods,
        Two{"from", "to"});
  counts(page, "edgehub_operation_retry_total", stats.retries, {"operation", "id"});
  counts(page, "decklog_hub_publishes_refused_total", stats.refused_publishes, {"reason"});
  counts(page, "decklog_hub_subscribes_refused_total", stats.refused_subscribes, {"reason"});
  page.add("decklog_hub_telemetry_malformed_total", number(stats.malformed));
}

void add_broker(Exposition& page, const broker::BrokerStats& stats) {
  page.add("decklog_broker_connections", number(stats.connections));
  page.add("decklog_broker_half_open", number(stats.half_open));
  const auto add = [&](const char* family, const char* reason, std::uint64_t count) {
    page.add(family, number(count), {{"reason", reason}});
  };
  add("decklog_broker_turned_away_total", "full", stats.refused_full);
  add("decklog_broker_turned_away_total", "half_open", stats.half_open_evicted);
  add("decklog_broker_turned_away_total", "protocol", stats.protocol_errors);
  add("decklog_broker_turned_away_total", "keep_alive", stats.keep_alive_timeouts);
  add("decklog_broker_turned_away_total", "takeover", stats.takeovers);
  add("decklog_broker_dropped_total", "slow_qos0", stats.dropped_slow_qos0);
  add("decklog_broker_dropped_total", "full_qos1", stats.dropped_full_qos1);
  add("decklog_broker_dropped_total", "denied", stats.dropped_denied);
  add("decklog_broker_dropped_total", "retained_full", stats.dropped_retained_full);
}

// The cache was the fleet's own word while the link was up; before that, when its newest record came.
double identity_age(const persistence::IdentityStore& store, const LinkTally& link, const Instant& now) {
  if (link.up) return 0;
  if (link.lost_at.ns != 0) return std::chrono::duration<double>(now.mono - link.lost_at).count();
  WallTime newest;
  for (const auto& name : store.all()) newest = std::max(newest, store.find(name)->fetched);
  const Duration age(newest.ns == 0 ? 0 : std::max<std::int64_t>(now.wall.ns - newest.ns, 0));
  return std::chrono::duration<double>(age).count();
}

}  // namespace

void LinkTally::change(bool now_up, MonoTime now) {
  if (up == now_up) return;
  up = now_up;
  if (!up) {
    ++losses;
    lost_at = now;
  } else if (const MonoTime since = std::exchange(lost_at, {}); since.ns != 0) {
    offline.add(std::chrono::duration<double>(now - since).count());
  }
}

std::string Hub::metrics_text() {
  const Instant now = surroundings_.now();
  Exposition page({{"iothub", config_.iothub_hostname},
                   {"edge_device", config_.device},
                   {"instance_number", std::to_string(journal_.report.epoch)}});
  const std::string self = config_.device + "/$edgeHub";
  add_messages(page, parts_->forwarder->stats());
  page.add("edgehub_operation_retry_total", number(parts_->forwarder->stats().publish_retries),
           {{"operation", "publish"}, {"id", self}});
  for (const auto& [endpoint, rate] : parts_->forwarder->drain_rates())
    page.add("decklog_hub_drain_rate", rate, {{"endpoint", endpoint}});
  add_routes(page, parts_->messages->routes());
  add_queues(page, parts_->messages->queues(now));
  add_clients(page, parts_->head->stats());
  add_broker(page, parts_->broker->stats());
  page.add("edgehub_offline_count_total", number(parts_->link_tally.losses), {{"id", self}});
  page.add("edgehub_offline_duration_seconds",
           observability::summary_of(parts_->link_tally.offline, {{"id", self}}));
  page.add("decklog_hub_identities", number(parts_->identities->all().size()));
  page.add("decklog_hub_identity_age_seconds", identity_age(*parts_->identities, parts_->link_tally, now));
  if (const auto validity = workload::certificate_validity(parts_->certificate))
    page.add("decklog_hub_certificate_end_seconds", static_cast<double>(validity->not_after.ns) / 1e9);
  std::map<ClientState, std::uint64_t> sessions;
  for (const auto& [name, record] : state().clients) ++sessions[record.life.state];
  for (auto each = ClientState::kConnecting; each < ClientState::kClosed;
       each = static_cast<ClientState>(static_cast<int>(each) + 1))
    page.add("decklog_hub_sessions", number(sessions[each]), {{"state", name_of(each)}});
  page.add("decklog_uplink_state", 1, {{"state", name_of(state().uplink.state)}});
  page.add("decklog_hub_store_bytes", number(parts_->messages->status().live_bytes));
  page.add("decklog_hub_store_limit_bytes", number(config_.hub.store_limit_bytes));
  const auto journal = journal_.journal->stats();
  page.add("decklog_journal_events_total", number(journal_.journal->durable_sequence().value));
  page.add("decklog_journal_bytes", number(journal.bytes_used));
  page.add("decklog_journal_degraded", journal.degraded ? 1 : 0);
  return page.text();
}

}  // namespace decklog::hub
