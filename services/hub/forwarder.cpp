#include "services/hub/forwarder.hpp"

#include <boost/asio/post.hpp>

#include "services/hub/message_form.hpp"

namespace decklog::hub {

namespace asio = boost::asio;
using persistence::MessageId;
using persistence::QueueId;

namespace {

constexpr const char* kUpstream = "$upstream";
constexpr std::string_view kEpochKey = "hub/epoch", kStorageFailure = "storage_failure";
constexpr auto kRetryAfter = std::chrono::seconds(1);

std::uint8_t store_priority(std::uint32_t priority) {
  return static_cast<std::uint8_t>(std::min<std::uint32_t>(priority, persistence::kPriorities - 1));
}

}  // namespace

Forwarder::Forwarder(asio::any_io_executor executor, persistence::MessageStore& store,
                     loop::Surroundings& surroundings, uplink::Uplink& uplink, HubLog& log,
                     Duration default_ttl, std::uint64_t store_limit_bytes)
    : executor_(executor),
      store_(store),
      surroundings_(surroundings),
      uplink_(uplink),
      log_(log),
      default_ttl_(default_ttl),
      retry_(executor) {
  limits_.max_bytes = store_limit_bytes / 100 * kEndpointPercent;
}

Status Forwarder::start() {
  auto unrouted = store_.open_route("(no route)");
  if (!unrouted) return unrouted.error();
  unrouted_ = *unrouted;
  if (auto status = load_epoch(); !status) return status;
  for (const auto& queue : store_.queues(surroundings_.now())) {
    if (queue.name.kind != persistence::QueueKind::kEndpoint) continue;
    if (auto opened = lane(endpoint(queue.name.name), queue.name.priority); !opened) return opened.error();
  }
  // Until the fleet says otherwise everything goes upstream, as it would without a hub.
  routes_ = routing::RouteSet::compile({{.name = "upstream", .query = "FROM /messages/* INTO $upstream"}});
  auto route = store_.open_route("upstream");
  if (!route) return route.error();
  route_ids_ = {*route};
  return {};
}

// The store's own lifetime: a store that was lost and begun anew must not reuse message names upstream.
Status Forwarder::load_epoch() {
  const auto read = store_.scan(kEpochKey, [this](std::string_view, std::string_view value) {
    epoch_ = std::strtoull(std::string(value).c_str(), nullptr, 10);
  });
  if (!read) return read;
  if (epoch_ != 0) return {};
  epoch_ = surroundings_.random() >> 12;  // 52 bits: a JSON number everywhere
  store_.write(kEpochKey, std::to_string(epoch_), persistence::RecordStore::OnFailure::kRetry);
  return {};
}

Forwarder::Endpoint& Forwarder::endpoint(const std::string& id) {
  auto& found = endpoints_[id];
  if (!found) {
    found = std::make_unique<Endpoint>(executor_);
    found->id = id;
    if (id != kUpstream) {
      const auto slash = id.find('/');
      found->module = id.substr(0, slash);
      found->input = slash == std::string::npos ? "" : id.substr(slash + 1);
    }
  }
  return *found;
}

Result<Forwarder::Lane*> Forwarder::lane(Endpoint& endpoint, std::uint8_t priority) {
  const auto found = endpoint.lanes.find(priority);
  if (found != endpoint.lanes.end()) return &found->second;
  auto queue = store_.open_queue({persistence::QueueKind::kEndpoint, endpoint.id, priority}, limits_);
  if (!queue) return queue.error();
  Lane& made = endpoint.lanes[priority];
  made.queue = *queue;
  by_queue_[*queue] = &endpoint;
  return &made;
}

void Forwarder::accept(Ingest message, std::function<void(bool)> done) {
  const auto answer = [this](std::function<void(bool)> callback, bool ok) {
    asio::post(executor_, [callback = std::move(callback), ok] { callback(ok); });
  };
  const std::string from = message.sender.client_id();
  const RoutedView routed(message);
  routes_.evaluate(routed.view(), deliveries_);
  // News of a twin that no route asks for is no message that anybody sent, and no loss.
  if (message.twin_change && deliveries_.empty()) return answer(std::move(done), true);
  if (!message.twin_change) {
    ++stats_.received.at({message.output, from});
    stats_.sizes.at({from}).add(static_cast<double>(message.body.size()));
  }
  std::vector<persistence::QueueRef> refs;
  for (const auto& delivery : deliveries_) {
    auto to = lane(endpoint(routes_.endpoints()[delivery.endpoint].id), store_priority(delivery.priority));
    if (!to) {
      ++stats_.unacknowledged.at({kStorageFailure, from, message.output});
      return answer(std::move(done), false);
    }
    const Duration ttl =
        delivery.ttl_seconds != 0 ? Duration(std::chrono::seconds(delivery.ttl_seconds)) : default_ttl_;
    refs.push_back({(*to)->queue, route_ids_[delivery.route], 0, ttl});
  }
  const std::string head = encode_head(message);
  const Instant now = surroundings_.now();
  const auto id = store_.put({head, message.body, persistence::lane_of(from)}, refs, now, unrouted_);
  if (!id) {
    ++stats_.unacknowledged.at({to_string(id.error().code), from, message.output});
    return answer(std::move(done), false);
  }
  if (refs.empty()) return answer(std::move(done), true);
  waiting_.push_back({*id, std::move(done), from, std::move(message.output), now.mono});
}

void Forwarder::on_committed(const persistence::Committed& committed) {
  const MonoTime now = surroundings_.now().mono;
  if (committed.status) {
    const std::chrono::nanoseconds took(store_.status().last_commit_ns);
    stats_.commit_seconds.add(std::chrono::duration<double>(took).count());
  }
  while (!waiting_.empty() && waiting_.front().id <= committed.last) {
    const Unanswered one = std::move(waiting_.front());
    waiting_.pop_front();
    if (committed.status) {
      stats_.accept_seconds.add(std::chrono::duration<double>(now - one.since).count());
    } else {
      ++stats_.unacknowledged.at({kStorageFailure, one.from, one.output});
    }
    one.done(committed.status.has_value());
  }
  if (!committed.status) return;
  for (auto& [id, endpoint] : endpoints_) pump(*endpoint);
}

bool Forwarder::on_readable(QueueId queue) {
  const auto found = by_queue_.find(queue);
  if (found == by_queue_.end()) return false;
  for (auto& [priority, lane] : found->second->lanes) {
    if (lane.queue == queue) lane.drained = false;
  }
  pump(*found->second);
  return true;
}

// Up to `most` messages, urgent priorities first, but every priority gets its share of each round: none
// starves.
bool Forwarder::take(Endpoint& endpoint, std::size_t most, std::vector<Sent>& sent,
                     std::vector<persistence::Delivery>& messages) {
  const Instant now = surroundings_.now();
  for (auto& [priority, lane] : endpoint.lanes) {
    if (lane.drained || messages.size() >= most) continue;
    const std::size_t share = std::max<std::size_t>(
        1, most * (persistence::kPriorities - priority) / (persistence::kPriorities + 5));
    persistence::FetchLimits limits;
    limits.max_messages = std::min(most - messages.size(), endpoint.lanes.size() == 1 ? most : share);
    const std::size_t before = messages.size();
    const auto state = store_.fetch(lane.queue, lane.cursor, limits, now, messages);
    lane.drained = state != persistence::FetchState::kServed;
    for (std::size_t i = before; i < messages.size(); ++i) {
      Sent one;
      one.endpoint = &endpoint;
      one.queue = lane.queue;
      one.id = messages[i].id;
      one.priority = priority;
      one.stored = messages[i].accepted;
      one.at = now.mono;
      sent.push_back(std::move(one));
    }
  }
  return !messages.empty();
}

void Forwarder::pump(Endpoint& endpoint) {
  endpoint.module.empty() ? pump_upstream(endpoint) : pump_module(endpoint);
}

void Forwarder::pump_module(Endpoint& endpoint) {
  const Identity module{"", endpoint.module};
  if (!clients_ || !clients_->connected(module) || endpoint.failed) return;
  while (endpoint.in_flight < kModuleWindow) {
    std::vector<Sent> sent;
    std::vector<persistence::Delivery> messages;
    if (!take(endpoint, kModuleWindow - endpoint.in_flight, sent, messages)) return;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const auto message = decode_head(messages[i].head, messages[i].body);
      if (!message) {
        store_.dead_letter(sent[i].queue, sent[i].id, kUnreadable);
        continue;
      }
      sent[i].from = message->sender.client_id();
      sent[i].output = message->output;
      const std::uint64_t token = next_token_++;
      if (!clients_->deliver_input(module, endpoint.input, *message, token)) {
        // Not subscribed (any more), or no room: what was fetched is fetched again when it is, or there is.
        starved_ = true;
        return rewind(endpoint);
      }
      sent_[token] = std::move(sent[i]);
      ++endpoint.in_flight;
    }
  }
}

void Forwarder::on_delivered(std::uint64_t token, bool acknowledged) {
  const auto found = sent_.find(token);
  if (found == sent_.end()) return;
  const Sent sent = std::move(found->second);
  sent_.erase(found);
  Endpoint& endpoint = *sent.endpoint;
  --endpoint.in_flight;
  if (!acknowledged) return delivery_failed(endpoint, sent.id);
  count_sent(sent, surroundings_.now());
  store_.ack(sent.queue, sent.id);
  if (endpoint.failed && endpoint.in_flight == 0) {
    offer_again(endpoint);
  } else if (!endpoint.failed && (endpoint.in_flight == 0 || sent.id == endpoint.oldest_failed)) {
    endpoint.pause = {};
  }
  pump(endpoint);
  pump_starved(endpoint);
}

void Forwarder::delivery_failed(Endpoint& endpoint, MessageId id) {
  endpoint.oldest_failed = endpoint.failed ? std::min(endpoint.oldest_failed, id) : id;
  endpoint.failed = true;
  if (endpoint.in_flight == 0) offer_again(endpoint);
  pump_starved(endpoint);
}

// A client that gives everything back must not make us spin.
void Forwarder::offer_again(Endpoint& endpoint) {
  endpoint.pause =
      endpoint.pause.count() == 0 ? kOfferAgainFirst : std::min(2 * endpoint.pause, kOfferAgainCap);
  endpoint.again.expires_after(endpoint.pause);
  endpoint.again.async_wait([this, &endpoint](boost::system::error_code cancelled) {
    if (cancelled || !endpoint.failed || endpoint.in_flight != 0) return;
    endpoint.failed = false;
    rewind(endpoint);
    pump(endpoint);
  });
}

// Inputs of one module share its window: one of them may have found no room, with nothing of its own under
// way that would wake it.
void Forwarder::pump_starved(const Endpoint& served) {
  if (!std::exchange(starved_, false)) return;
  for (auto& [id, endpoint] : endpoints_) {
    if (endpoint.get() != &served && endpoint->module == served.module && endpoint->in_flight == 0)
      pump(*endpoint);
  }
}

// From the oldest message that is not acknowledged; those in flight are passed over: they end by their
// tokens.
void Forwarder::rewind(Endpoint& endpoint) {
  for (auto& [priority, lane] : endpoint.lanes) {
    MessageId newest_sent{};
    for (const auto& [token, sent] : sent_) {
      if (sent.queue == lane.queue) newest_sent = std::max(newest_sent, sent.id);
    }
    lane.cursor = newest_sent;
    lane.drained = false;
  }
}

void Forwarder::on_client_ready(const Identity& client) {
  for (auto& [id, endpoint] : endpoints_) {
    if (endpoint->module != client.module || endpoint->module.empty()) continue;
    // Who comes anew is not kept waiting for what the one before it gave back.
    if (endpoint->in_flight == 0) {
      endpoint->failed = false;
      endpoint->pause = {};
      endpoint->again.cancel();
    }
    rewind(*endpoint);
    pump(*endpoint);
  }
}

void Forwarder::on_link(bool up) {
  link_up_ = up;
  if (!up) return;
  Endpoint& upstream = endpoint(kUpstream);
  if (!publishing_) rewind(upstream);
  pump(upstream);
}

void Forwarder::pump_upstream(Endpoint& endpoint) {
  if (!link_up_ || publishing_) return;
  std::vector<Sent> sent;
  std::vector<persistence::Delivery> messages;
  if (!take(endpoint, kUpstreamBatch, sent, messages)) return;
  std::vector<uplink::Telemetry> batch;
  std::vector<Sent> kept;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto message = decode_head(messages[i].head, messages[i].body);
    if (!message) {
      store_.dead_letter(sent[i].queue, sent[i].id, kUnreadable);
      continue;
    }
    sent[i].from = message->sender.client_id();
    sent[i].output = message->output;
    kept.push_back(std::move(sent[i]));
    batch.push_back({epoch_, messages[i].id.value, std::move(message->sender.device),
                     std::move(message->sender.module), std::move(message->output),
                     std::move(message->properties), std::move(message->body), messages[i].accepted});
  }
  if (batch.empty()) return;
  publishing_ = true;
  uplink_.publish(std::move(batch), [this, kept = std::move(kept)](Result<std::size_t> count) mutable {
    published(std::move(kept), count);
  });
}

void Forwarder::published(std::vector<Sent> batch, const Result<std::size_t>& count) {
  if (!count && count.error().code == Errc::kTooLarge && !batch.empty()) {
    // The fleet will never take this one: it must not block those behind it.
    publishing_ = false;
    store_.dead_letter(batch.front().queue, batch.front().id, kRefusedUpstream);
    rewind(*batch.front().endpoint);
    return pump(*batch.front().endpoint);
  }
  if (!count || *count == 0) {
    publishing_ = false;
    if (!batch.empty()) rewind(*batch.front().endpoint);
    return retry_later();
  }
  const bool whole = *count >= batch.size();
  Endpoint& upstream = *batch.front().endpoint;
  batch.resize(std::min(batch.size(), *count));
  uplink_.checkpoint([this, batch = std::move(batch), whole, &upstream](Result<std::string> stream) mutable {
    publishing_ = false;
    if (!stream) {
      rewind(upstream);
      return retry_later();
    }
    if (!stream_.empty() && stream_ != *stream) {
      // The stream was made anew: what it took before may be gone. Nothing unconfirmed is given up.
      log_.note(Remarked{"uplink", "telemetry",
                         "the stream upstream was re-created; unconfirmed messages go again"});
      stream_ = *stream;
      rewind(upstream);
      return pump(upstream);
    }
    stream_ = *stream;
    confirm(std::move(batch));
    if (!whole) rewind(upstream);
    pump(upstream);
  });
}

void Forwarder::confirm(std::vector<Sent> batch) {
  std::map<QueueId, std::vector<MessageId>> ids;
  for (const auto& sent : batch) ids[sent.queue].push_back(sent.id);
  for (const auto& [queue, list] : ids) store_.ack(queue, list);
  const Instant now = surroundings_.now();
  for (const auto& sent : batch) count_sent(sent, now);
}

void Forwarder::retry_later() {
  ++stats_.publish_retries;
  retry_.expires_after(kRetryAfter);
  retry_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) pump(endpoint(kUpstream));
  });
}

}  // namespace decklog::hub
