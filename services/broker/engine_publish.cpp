// A PUBLISH from its sender to everybody who wants it.
#include <algorithm>

#include "services/broker/engine.hpp"
#include "services/broker/listener.hpp"
#include "services/mqtt/encoder.hpp"
#include "services/mqtt/text.hpp"

namespace decklog::broker {

using mqtt::PacketType;
using mqtt::Qos;
using mqtt::Violation;

namespace {

constexpr std::size_t kTargetsPerMessage = 4'096;  // of one put()
constexpr std::size_t kRememberedTopicBytes = 128;

PacketType answer_type(Qos qos) {
  return qos == Qos::kAtLeastOnce ? PacketType::kPuback : PacketType::kPubrec;
}

}  // namespace

void Engine::on_publish(Connection& connection, const mqtt::Frame& frame) {
  mqtt::PublishPacket packet;
  if (const auto bad = mqtt::decode(frame, packet); bad != Violation::kNone)
    return on_violation(connection, bad);
  ++stats_.received[static_cast<int>(packet.qos)];
  auto& session = *connection.session;
  auto verdict = PublishVerdict::kRoute;
  if (packet.topic != connection.allowed_topic) {
    verdict = policy_.authorize_publish(session.client, packet.topic, packet.qos);
    if (connection.phase != Phase::kOpen) return;
    if (verdict == PublishVerdict::kRoute && packet.topic.size() <= kRememberedTopicBytes) {
      connection.allowed_topic = packet.topic;
    }
  }
  if (verdict == PublishVerdict::kClose) return close(connection, "publish-refused");
  GroupKey group = 0;
  if (packet.qos == Qos::kExactlyOnce) {
    // A second copy of an open one is answered, not published again [MQTT-4.3.3-2].
    if (!session.state.inbox.begin(packet.packet_id)) return repeat(connection, packet);
    if (session.stored()) {
      group = store_.add_incoming(session.client.client_id, packet.packet_id);
      last_group_ = std::max(last_group_, group);
    }
  }
  switch (verdict) {
    case PublishVerdict::kDrop:
      ++stats_.dropped_denied;
      return answer_publish(connection, packet, 0, group);
    case PublishVerdict::kIntercept:
      return intercept(connection, packet, group);
    case PublishVerdict::kRoute: {
      auto gate = route(session.client.identity, packet, frame.raw);
      if (gate.refused) {
        if (packet.qos == Qos::kExactlyOnce) not_taken(session, packet.packet_id);
        return close(connection, "store-full");
      }
      return answer_publish(connection, packet, gate.message, std::max(group, gate.group));
    }
    case PublishVerdict::kClose:
      return;
  }
}

void Engine::answer_publish(Connection& connection, const mqtt::PublishPacket& packet, MessageKey message,
                            GroupKey group) {
  if (packet.qos == Qos::kAtMostOnce) return;
  std::string bytes;
  mqtt::append_acknowledgement(bytes, answer_type(packet.qos), packet.packet_id);
  const bool at_once = options_.ack_when == AckWhen::kAtOnce;
  if (packet.qos == Qos::kExactlyOnce && !at_once && !is_durable(message, group)) {
    remember(*connection.session, packet.packet_id, {message, group, 0, false, {}});
  }
  connection.answer(std::move(bytes), at_once ? 0 : message, at_once ? 0 : group);
}

void Engine::repeat(Connection& connection, const mqtt::PublishPacket& packet) {
  auto& session = *connection.session;
  const auto open = session.open_publishes.find(packet.packet_id);
  if (open == session.open_publishes.end()) return answer_publish(connection, packet, 0, 0);
  if (!open->second.held) {
    return answer_publish(connection, packet, open->second.message, open->second.group);
  }
  auto& places = open->second.places;
  std::erase_if(places, [](const auto& place) {
    const auto waiting = place.first.lock();
    return !waiting || waiting->phase != Phase::kOpen;
  });
  places.emplace_back(connection.weak_from_this(), connection.hold_answer(open->second.group));
}

void Engine::remember(ClientSession& session, std::uint16_t packet_id, OpenPublish open) {
  session.open_publishes.insert_or_assign(packet_id, std::move(open));
  publishing_.insert(session.slot);
}

void Engine::intercept(Connection& connection, const mqtt::PublishPacket& packet, GroupKey group) {
  auto& session = *connection.session;
  const auto packet_id = packet.packet_id;
  const auto place = packet.qos == Qos::kAtMostOnce ? 0 : connection.hold_answer(group);
  std::uint64_t use = 0;
  if (packet.qos == Qos::kExactlyOnce) {
    use = ++last_use_;
    remember(session, packet_id, {0, group, use, true, {{connection.weak_from_this(), place}}});
  }
  policy_.on_publish(session.client, packet,
                     [weak = connection.weak_from_this(), engine = weak_from_this(), slot = session.slot,
                      qos = packet.qos, packet_id, place, use](bool accepted) {
                       const auto self = engine.lock();
                       if (self && use != 0) return self->decided(slot, packet_id, use, accepted);
                       const auto waiting = weak.lock();
                       if (!self || !waiting || waiting->phase != Phase::kOpen) return;
                       if (!accepted) return self->close(*waiting, "publish-not-accepted");
                       if (qos == Qos::kAtMostOnce) return;
                       std::string bytes;
                       mqtt::append_acknowledgement(bytes, answer_type(qos), packet_id);
                       waiting->fill_answer(place, std::move(bytes));
                     });
}

// The policy's word on a QoS 2 message, for every connection on which it came.
void Engine::decided(mqtt::SubscriberId slot, std::uint16_t packet_id, std::uint64_t use, bool accepted) {
  auto* session = slot < slots_.size() ? slots_[slot].get() : nullptr;
  if (session == nullptr) return;
  const auto open = session->open_publishes.find(packet_id);
  if (open == session->open_publishes.end() || open->second.use != use) return;
  const auto group = open->second.group;
  const auto places = std::exchange(open->second.places, {});
  open->second.held = false;
  if (!accepted) {
    not_taken(*session, packet_id);
  } else if (is_durable(0, group)) {
    session->open_publishes.erase(open);
  }
  for (const auto& [weak, place] : places) {
    const auto waiting = weak.lock();
    if (!waiting || waiting->phase != Phase::kOpen) continue;
    if (!accepted) {
      close(*waiting, "publish-not-accepted");
      continue;
    }
    std::string bytes;
    mqtt::append_acknowledgement(bytes, PacketType::kPubrec, packet_id);
    waiting->fill_answer(place, std::move(bytes));
    // The identifier of a persistent session must be on disk as well.
    if (!is_durable(0, group)) waits_for_store(*waiting);
  }
}

// It will be sent again: that must not be mistaken for the second copy of a message that was taken.
void Engine::not_taken(ClientSession& session, std::uint16_t packet_id) {
  session.state.inbox.end(packet_id);
  session.open_publishes.erase(packet_id);
  if (!session.stored()) return;
  last_group_ = std::max(last_group_, store_.remove_incoming(session.client.client_id, packet_id));
}

// What was committed needs no more waiting for; what the store did not keep was not taken.
void Engine::settle_publishes(const CommitReport& report) {
  const auto after_group = std::exchange(durable_group_, std::max(durable_group_, report.through_group));
  const auto after_message =
      std::exchange(durable_message_, std::max(durable_message_, report.through_message));
  const auto failed = [&](const OpenPublish& open) {
    if (report.status) return false;
    return (open.group > after_group && open.group <= report.through_group) ||
           (open.message > after_message && open.message <= report.through_message);
  };
  boost::container::flat_set<mqtt::SubscriberId> still;
  for (const auto slot : publishing_) {
    auto* session = slots_[slot].get();
    if (session == nullptr) continue;
    auto& publishes = session->open_publishes;
    boost::unordered::erase_if(publishes, [&](const auto& each) {
      const auto& [packet_id, open] = each;
      if (open.held) return false;
      if (failed(open)) session->state.inbox.end(packet_id);
      return is_durable(open.message, open.group);
    });
    if (publishes.empty()) {
      publishes = {};
    } else {
      still.insert(still.end(), slot);
    }
  }
  publishing_ = std::move(still);
}

Engine::Gate Engine::route(std::string_view sender, const mqtt::PublishPacket& packet, std::string_view raw) {
  Gate gate;
  if (packet.retain) retain(sender, packet, gate);
  const auto& matches = index_.match(packet.topic);
  if (matches.empty()) return gate;
  // What readers at QoS 0 get: the very bytes that came in when they came in that way, else one encoded copy.
  std::string_view plain;
  if (packet.qos == Qos::kAtMostOnce && !packet.retain) plain = raw;
  mqtt::MessagePtr shared;
  targets_.clear();
  for (const auto& match : matches) {
    auto& session = *slots_[match.subscriber];
    const auto qos = std::min(packet.qos, match.qos);
    if (qos == Qos::kAtMostOnce) {
      if (plain.empty()) {
        auto copy = packet;
        copy.qos = Qos::kAtMostOnce;
        copy.retain = copy.duplicate = false;
        scratch_.clear();
        mqtt::append_publish(scratch_, copy);
        plain = scratch_;
      }
      deliver_qos0(session, packet, plain);
    } else if (session.stored()) {
      targets_.push_back({session.queue, qos, false});
    } else {
      if (!shared) shared = mqtt::Message::make(packet.topic, packet.payload, packet.qos);
      deliver_in_memory(session, shared, qos, false);
    }
  }
  if (scratch_.capacity() > kReadBufferBytes) scratch_ = {};
  put_targets({packet.topic, packet.payload, packet.qos, sender}, gate);
  return gate;
}

bool Engine::put_targets(const StoredMessageView& view, Gate& gate) {
  for (std::size_t at = 0; at < targets_.size(); at += kTargetsPerMessage) {
    const auto count = std::min(kTargetsPerMessage, targets_.size() - at);
    const auto put = store_.put(view, std::span(targets_).subspan(at, count));
    if (!put) {
      ++stats_.store_refused;
      trouble(4, "store refused a message: " + describe(put.error()));
      gate.refused = true;
      return false;
    }
    gate.message = *put;
  }
  return true;
}

void Engine::deliver_qos0(ClientSession& session, const mqtt::PublishPacket&, std::string_view raw) {
  auto* connection = session.connection;
  if (connection == nullptr || connection->phase != Phase::kOpen) return;
  if (connection->backlog() + raw.size() > options_.limits.max_output_bytes && connection->backlog() > 0) {
    ++stats_.dropped_slow_qos0;
    return trouble(6, "slow reader: QoS 0 messages dropped");
  }
  connection->out().append(raw);
  ++stats_.delivered[0];
  connection->commit_output();
}

void Engine::deliver_in_memory(ClientSession& session, const mqtt::MessagePtr& message, Qos qos,
                               bool retain) {
  auto& outbox = session.state.outbox;
  if (!outbox.has_room(message->topic().size() + message->payload().size(), options_.limits.outbox)) {
    ++stats_.dropped_full_qos1;
    return trouble(7, "clean session queue full: messages dropped");
  }
  mqtt::Outgoing entry;
  entry.topic = message->topic();
  entry.payload = message->payload();
  entry.keep = message;
  entry.qos = qos;
  entry.retain = retain;
  outbox.push(std::move(entry));
  queue_pump(session);
}

void Engine::publish_own(std::string_view topic, std::string_view payload, Qos qos, bool retain) {
  mqtt::PublishPacket packet;
  packet.topic = topic;
  packet.payload = payload;
  packet.qos = qos;
  packet.retain = retain;
  route({}, packet, {});
}

DeliverResult Engine::deliver(std::string_view client_id, const Delivery& delivery) {
  auto* session = find(client_id);
  if (session == nullptr || session->connection == nullptr) return DeliverResult::kNotConnected;
  std::optional<Qos> granted;
  for (const auto filter : session->state.filters) {
    if (!mqtt::filter_matches(index_.text(filter), delivery.topic)) continue;
    granted = std::max(granted.value_or(Qos::kAtMostOnce), *index_.granted(session->slot, filter));
  }
  if (!granted) return DeliverResult::kNotSubscribed;
  const auto qos = std::min(*granted, delivery.qos);
  if (qos == Qos::kAtMostOnce) {
    auto& connection = *session->connection;
    if (connection.phase != Phase::kOpen) return DeliverResult::kNotConnected;
    if (connection.backlog() > options_.limits.max_output_bytes) return DeliverResult::kFull;
    mqtt::PublishPacket packet;
    packet.topic = delivery.topic;
    packet.payload = delivery.payload;
    mqtt::append_publish(connection.out(), packet);
    ++stats_.delivered[0];
    connection.commit_output();
    if (delivery.token != 0) policy_.on_delivered(session->client, delivery.token, true);
    return DeliverResult::kQueued;
  }
  auto& outbox = session->state.outbox;
  if (!outbox.has_room(delivery.topic.size() + delivery.payload.size(), options_.limits.outbox)) {
    return DeliverResult::kFull;
  }
  const auto message = mqtt::Message::make(delivery.topic, delivery.payload, delivery.qos);
  mqtt::Outgoing entry;
  entry.topic = message->topic();
  entry.payload = message->payload();
  entry.keep = message;
  entry.qos = qos;
  entry.token = delivery.token;
  outbox.push(std::move(entry));
  queue_pump(*session);
  return DeliverResult::kQueued;
}

bool Engine::withdraw(std::string_view client_id, std::uint64_t token) {
  auto* session = find(client_id);
  return session != nullptr && session->state.outbox.withdraw(token);
}

bool Engine::holds(const ClientSession& session, std::string_view topic) const {
  return std::any_of(session.state.filters.begin(), session.state.filters.end(),
                     [&](mqtt::FilterId filter) { return mqtt::filter_matches(index_.text(filter), topic); });
}

}  // namespace decklog::broker
