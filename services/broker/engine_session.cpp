// Subscriptions, acknowledgements, and the flow from a session's queue to its connection.
#include <algorithm>

#include "services/broker/engine.hpp"
#include "services/broker/listener.hpp"
#include "services/mqtt/encoder.hpp"

namespace decklog::broker {

using mqtt::PacketType;
using mqtt::Qos;
using mqtt::Violation;

namespace {

mqtt::Outgoing to_outgoing(QueuedMessage message, std::uint64_t sent_through) {
  mqtt::Outgoing entry;
  entry.topic = message.topic;
  entry.payload = message.payload;
  entry.keep = std::move(message.keep);
  entry.stored = message.key;
  entry.packet_id = message.packet_id;
  entry.qos = message.qos;
  entry.retain = message.retain;
  entry.duplicate = message.from_earlier_run || message.key <= sent_through;
  return entry;
}

}  // namespace

std::uint8_t Engine::subscribe_one(ClientSession& session, const mqtt::SubscriptionRequest& request,
                                   GroupKey& group) {
  const auto granted = policy_.authorize_subscribe(session.client, request.filter, request.qos);
  if (granted > 2) return mqtt::kSubscribeRefused;
  const auto qos = static_cast<Qos>(granted);
  const bool full = session.state.filters.size() >= options_.limits.max_subscriptions_per_client;
  const auto held = [&](mqtt::FilterId filter) { return index_.text(filter) == request.filter; };
  if (full && std::none_of(session.state.filters.begin(), session.state.filters.end(), held))
    return mqtt::kSubscribeRefused;
  if (session.stored()) {
    const auto stored = store_.subscribe(session.client.client_id, request.filter, qos);
    if (!stored) return mqtt::kSubscribeRefused;
    group = std::max(group, *stored);
  }
  const auto added = index_.subscribe(session.slot, request.filter, qos);
  if (!added.replaced) session.state.filters.push_back(added.filter);
  return granted;
}

void Engine::on_subscribe(Connection& connection, const mqtt::Frame& frame) {
  mqtt::SubscribePacket packet;
  if (const auto bad = mqtt::decode(frame, packet); bad != Violation::kNone)
    return on_violation(connection, bad);
  auto& session = *connection.session;
  GroupKey group = 0;
  std::vector<std::uint8_t> codes;
  std::vector<std::pair<std::string, Qos>> granted;
  for (const auto& request : packet.requests) {
    codes.push_back(subscribe_one(session, request, group));
    if (codes.back() != mqtt::kSubscribeRefused)
      granted.emplace_back(request.filter, static_cast<Qos>(codes.back()));
  }
  last_group_ = std::max(last_group_, group);
  std::string bytes;
  mqtt::append_suback(bytes, packet.packet_id, codes);
  after_durable(group, [this, weak = connection.weak_from_this(), bytes = std::move(bytes),
                        granted = std::move(granted)](bool ok) {
    const auto waiting = weak.lock();
    if (!waiting || waiting->phase != Phase::kOpen) return;
    if (!ok) return close(*waiting, "store-failed");
    waiting->out().append(bytes);
    waiting->commit_output();
    for (const auto& [filter, qos] : granted) {
      if (waiting->session == nullptr) return;
      event(ClientChange::kSubscribed, waiting->session->client, filter, waiting.get(), qos);
      if (waiting->session != nullptr) send_retained(*waiting->session, filter, qos);
    }
  });
}

void Engine::on_unsubscribe(Connection& connection, const mqtt::Frame& frame) {
  mqtt::UnsubscribePacket packet;
  if (const auto bad = mqtt::decode(frame, packet); bad != Violation::kNone)
    return on_violation(connection, bad);
  auto& session = *connection.session;
  GroupKey group = 0;
  std::vector<std::string> gone;
  for (const auto filter : packet.filters) {
    const auto held = index_.unsubscribe(session.slot, filter);
    if (!held) continue;
    session.state.drop(*held);
    forget_retained(session, filter);
    if (session.stored()) group = std::max(group, store_.unsubscribe(session.client.client_id, filter));
    gone.emplace_back(filter);
  }
  last_group_ = std::max(last_group_, group);
  after_durable(group, [this, weak = connection.weak_from_this(), id = packet.packet_id,
                        gone = std::move(gone)](bool ok) {
    const auto waiting = weak.lock();
    if (!waiting || waiting->phase != Phase::kOpen) return;
    if (!ok) return close(*waiting, "store-failed");
    mqtt::append_acknowledgement(waiting->out(), PacketType::kUnsuback, id);
    waiting->commit_output();
    for (const auto& filter : gone) {
      if (waiting->session == nullptr) return;
      event(ClientChange::kUnsubscribed, waiting->session->client, filter, waiting.get());
    }
  });
}

void Engine::on_acknowledgement(Connection& connection, const mqtt::Frame& frame) {
  std::uint16_t id = 0;
  if (const auto bad = mqtt::decode_packet_id(frame, id); bad != Violation::kNone)
    return on_violation(connection, bad);
  auto& session = *connection.session;
  switch (frame.type) {
    case PacketType::kPuback:
      return finished(session, session.state.outbox.on_puback(id));
    case PacketType::kPubrec:
      return on_pubrec(connection, id);
    case PacketType::kPubrel:
      return on_pubrel(connection, id);
    default: {
      const auto answer = session.state.outbox.on_pubcomp(id);
      if (answer.known && session.stored() && answer.stored != 0) {
        last_group_ = std::max(last_group_, store_.remove_release(session.client.client_id, id));
      }
      if (answer.known) queue_pump(session);
      return;
    }
  }
}

void Engine::finished(ClientSession& session, const mqtt::Outbox::Answer& answer) {
  if (!answer.known) return;
  if (answer.stored != 0) store_.ack(session.queue, answer.stored);
  if (answer.token != 0) policy_.on_delivered(session.client, answer.token, true);
  queue_pump(session);
}

// The message is the client's; that must be on disk before PUBREL lets the client forget the identifier.
void Engine::on_pubrec(Connection& connection, std::uint16_t packet_id) {
  auto& session = *connection.session;
  const auto answer = session.state.outbox.on_pubrec(packet_id);
  GroupKey group = 0;
  if (answer.known && answer.stored != 0) {
    store_.ack(session.queue, answer.stored);
    group = store_.add_release(session.client.client_id, packet_id);
    last_group_ = std::max(last_group_, group);
  }
  if (answer.known && answer.token != 0) policy_.on_delivered(session.client, answer.token, true);
  // An identifier that is not known is answered too, so that the client can end its side of the exchange.
  if (!answer.known) group = last_group_;
  after_durable(group, [this, slot = session.slot, client = session.client.id, packet_id,
                        weak = connection.weak_from_this()](bool ok) {
    auto* still = slot < slots_.size() ? slots_[slot].get() : nullptr;
    if (ok && still != nullptr) still->state.outbox.release_durable(packet_id);
    const auto waiting = weak.lock();
    if (!waiting || waiting->phase != Phase::kOpen) {
      // The client came back before the release was durable: it hears of it there.
      if (ok && still != nullptr && still->client.id != client && still->connection != nullptr &&
          still->connection->phase == Phase::kOpen) {
        mqtt::append_acknowledgement(still->connection->out(), PacketType::kPubrel, packet_id);
        still->connection->commit_output();
      }
      return;
    }
    if (!ok) return close(*waiting, "store-failed");
    mqtt::append_acknowledgement(waiting->out(), PacketType::kPubrel, packet_id);
    waiting->commit_output();
  });
}

// After PUBCOMP the client may use the identifier for something new, so the old use must be gone from the
// disk.
void Engine::on_pubrel(Connection& connection, std::uint16_t packet_id) {
  auto& session = *connection.session;
  if (const auto open = session.open_publishes.find(packet_id); open != session.open_publishes.end()) {
    if (open->second.held) return close(connection, "PUBREL before PUBREC");
    session.open_publishes.erase(open);
  }
  GroupKey group = 0;
  if (session.state.inbox.end(packet_id) && session.stored()) {
    group = store_.remove_incoming(session.client.client_id, packet_id);
    last_group_ = std::max(last_group_, group);
  }
  std::string bytes;
  mqtt::append_acknowledgement(bytes, PacketType::kPubcomp, packet_id);
  connection.answer(std::move(bytes), 0, group);
}

void Engine::queue_pump(ClientSession& session) {
  if (session.in_pump_list || session.connection == nullptr) return;
  session.in_pump_list = true;
  pump_list_.push_back(session.slot);
  schedule_turn_end();
}

// Takes messages out of the durable queue into the window.
void Engine::refill(ClientSession& session) {
  const auto& limits = options_.limits.outbox;
  auto& outbox = session.state.outbox;
  std::vector<QueuedMessage> batch;
  while (session.readable && outbox.size() < limits.window && outbox.bytes() < limits.bytes) {
    batch.clear();
    auto cursor = session.cursor;
    const bool more = store_.fetch(session.queue, cursor, limits.window - outbox.size(),
                                   limits.bytes - outbox.bytes(), batch);
    for (auto& message : batch) {
      // The identifier is still in use by a message 65,535 earlier: go on from here when that one is
      // acknowledged.
      if (outbox.uses(message.packet_id)) return;
      session.cursor = message.key;
      outbox.push(to_outgoing(std::move(message), session.state.sent_through));
    }
    session.cursor = cursor;
    session.readable = more;
  }
}

void Engine::pump(ClientSession& session) {
  auto* connection = session.connection;
  if (connection == nullptr || connection->phase != Phase::kOpen) return;
  if (!session.retained.empty()) walk_retained(session);
  if (session.stored()) refill(session);
  auto& outbox = session.state.outbox;
  if (outbox.empty() || connection->backlog() >= options_.limits.max_output_bytes) return;
  const auto before = outbox.in_flight();
  const auto sent = outbox.pump(connection->out(), options_.limits.max_output_bytes, options_.limits.outbox);
  session.state.sent_through = std::max(session.state.sent_through, sent);
  stats_.delivered[1] += outbox.in_flight() - before;
  connection->commit_output();
}

}  // namespace decklog::broker
