// From the first packet to an attached session, and back.
#include <algorithm>

#include "services/broker/engine.hpp"
#include "services/broker/listener.hpp"
#include "services/mqtt/encoder.hpp"

namespace decklog::broker {

using mqtt::ConnectCode;
using mqtt::Violation;

void Engine::on_frame(Connection& connection, const mqtt::Frame& frame) {
  using mqtt::PacketType;
  if (connection.phase == Phase::kAwaitConnect) {
    if (frame.type != PacketType::kConnect) return on_violation(connection, Violation::kNotConnectFirst);
    return on_connect(connection, frame);
  }
  switch (frame.type) {
    case PacketType::kPublish:
      return on_publish(connection, frame);
    case PacketType::kPuback:
    case PacketType::kPubrec:
    case PacketType::kPubrel:
    case PacketType::kPubcomp:
      return on_acknowledgement(connection, frame);
    case PacketType::kSubscribe:
      return on_subscribe(connection, frame);
    case PacketType::kUnsubscribe:
      return on_unsubscribe(connection, frame);
    case PacketType::kPingreq:
      if (const auto bad = mqtt::decode_empty(frame); bad != Violation::kNone)
        return on_violation(connection, bad);
      mqtt::append_empty(connection.out(), PacketType::kPingresp);
      return connection.commit_output();
    case PacketType::kDisconnect:
      if (const auto bad = mqtt::decode_empty(frame); bad != Violation::kNone)
        return on_violation(connection, bad);
      connection.will.reset();  // [MQTT-3.14.4-3]
      return close(connection, "disconnect");
    case PacketType::kConnect:
      return on_violation(connection, Violation::kSecondConnect);
    case PacketType::kConnack:
    case PacketType::kSuback:
    case PacketType::kUnsuback:
    case PacketType::kPingresp:
      return on_violation(connection, Violation::kPacketType);
  }
}

void Engine::on_connect(Connection& connection, const mqtt::Frame& frame) {
  mqtt::ConnectPacket packet;
  const auto bad = mqtt::decode(frame, packet);
  if (bad == Violation::kProtocolLevel || bad == Violation::kClientIdNeedsClean) {
    ++stats_.protocol_errors;
    const auto code = bad == Violation::kProtocolLevel ? ConnectCode::kUnacceptableProtocol
                                                       : ConnectCode::kIdentifierRejected;
    return refuse(connection, code, mqtt::describe(bad), std::string(packet.client_id), mqtt::describe(bad));
  }
  if (bad != Violation::kNone) return on_violation(connection, bad);
  ConnectInfo info;
  info.client_id = packet.client_id;
  if (info.client_id.empty()) {  // a name of our own [MQTT-3.1.3-6]; a client cannot ask for one with U+001F
    info.client_id = "auto-\x1F" + std::to_string(++made_up_ids_);
  }
  if (packet.username) info.username = *packet.username;
  if (packet.password) info.password = *packet.password;
  info.clean_session = packet.clean_session;
  info.keep_alive_s = packet.keep_alive_s;
  info.listener = connection.listener.name;
  info.transport = connection.listener.transport;
  info.peer = connection.peer_text();
  info.certificate = connection.pipe().certificate();
  connection.keep_alive_s = packet.keep_alive_s;
  if (packet.will) {
    connection.will = std::make_unique<Will>();
    connection.will->message =
        mqtt::Message::make(packet.will->topic, packet.will->payload, packet.will->qos);
    connection.will->retain = packet.will->retain;
  }
  connection.phase = Phase::kAuthenticating;
  auto kept = std::make_shared<ConnectInfo>(info);
  kept->password.reset();
  policy_.authenticate(std::move(info), [weak = connection.weak_from_this(), engine = weak_from_this(),
                                         kept](ConnectVerdict verdict) {
    const auto self = engine.lock();
    const auto waiting = weak.lock();
    if (!self || !waiting || waiting->phase != Phase::kAuthenticating) return;
    self->on_verdict(*waiting, *kept, std::move(verdict));
  });
}

void Engine::refuse(Connection& connection, ConnectCode code, const char* cause, const std::string& client_id,
                    std::string_view detail) {
  ++stats_.connects_refused;
  mqtt::append_connack(connection.out(), {false, code});
  connection.commit_output();
  const Client nobody{0, client_id, {}};
  event(ClientChange::kRefused, nobody, detail, &connection);
  connection.will.reset();
  close(connection, cause);
}

void Engine::on_verdict(Connection& connection, const ConnectInfo& info, ConnectVerdict verdict) {
  if (!verdict.accepted()) {
    return refuse(connection, verdict.code, "refused", info.client_id, verdict.cause);
  }
  leave_half_open(connection);
  bool session_present = false;
  const auto group = attach(connection, info, verdict.identity, session_present);
  if (!group) {
    const bool taken = group.error().code == Errc::kPermissionDenied;
    return refuse(connection, taken ? ConnectCode::kIdentifierRejected : ConnectCode::kServerUnavailable,
                  "refused", info.client_id, group.error().message);
  }
  connection.phase = Phase::kConnackPending;
  after_durable(*group, [this, session_present, weak = connection.weak_from_this()](bool ok) {
    const auto waiting = weak.lock();
    if (!waiting || waiting->phase != Phase::kConnackPending) return;
    if (!ok) return close(*waiting, "store-failed");
    send_connack(*waiting, session_present);
  });
}

ClientSession* Engine::find(std::string_view client_id) {
  const auto found = sessions_.find(client_id);
  return found == sessions_.end() ? nullptr : found->second;
}

ClientSession& Engine::new_slot(const std::string& client_id) {
  mqtt::SubscriberId slot;
  if (free_slots_.empty()) {
    slot = static_cast<mqtt::SubscriberId>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[slot] = std::make_unique<ClientSession>();
  auto& session = *slots_[slot];
  session.slot = slot;
  session.client.client_id = client_id;
  session.offline_since_tick = tick();
  sessions_.emplace(session.client.client_id, &session);
  return session;
}

// Binds the connection to the session the client asks for: a new one, or the one it left behind (3.1.2.4).
Result<GroupKey> Engine::attach(Connection& connection, const ConnectInfo& info, const std::string& identity,
                                bool& session_present) {
  auto* existing = find(info.client_id);
  if (existing != nullptr && existing->client.identity != identity) {
    return error(Errc::kPermissionDenied, "client id belongs to another identity");
  }
  GroupKey group = 0;
  if (existing != nullptr && existing->connection != nullptr) {
    ++stats_.takeovers;
    teardown(*existing->connection, "taken-over");  // [MQTT-3.1.4-2]; ends a clean session
    existing = find(info.client_id);
  }
  if (existing != nullptr && info.clean_session) {
    group = end_session(*existing, "clean");
    existing = nullptr;
  }
  session_present = existing != nullptr;
  if (existing == nullptr) {
    auto made = make_session(connection, info, identity);
    if (!made) return made;
    group = std::max(group, *made);
    existing = find(info.client_id);
  }
  existing->client.id = next_client_++;
  existing->connection = &connection;
  existing->cursor = 0;
  existing->readable = true;
  connection.session = existing;
  if (session_present) reauthorize(*existing);
  existing->state.outbox.resume();
  return group;
}

Result<GroupKey> Engine::make_session(Connection&, const ConnectInfo& info, const std::string& identity) {
  GroupKey group = 0;
  QueueKey queue = 0;
  if (!info.clean_session) {
    if (queues_.size() >= options_.limits.max_offline_sessions) {
      trouble(3, "persistent session limit reached");
      return error(Errc::kUnavailable, "persistent session limit reached");
    }
    const auto created = store_.create(info.client_id, identity);
    if (!created) return created.error();
    queue = created->queue;
    group = created->group;
  }
  auto& session = new_slot(info.client_id);
  session.client.identity = identity;
  session.queue = queue;
  session.state.clean = info.clean_session;
  if (queue != 0) queues_.emplace(queue, &session);
  last_group_ = std::max(last_group_, group);
  return group;
}

// Rights may have changed while the client was away.
void Engine::reauthorize(ClientSession& session) {
  const auto filters = session.state.filters;
  for (const auto filter : filters) {
    const auto granted = index_.granted(session.slot, filter);
    const std::string text(index_.text(filter));
    if (policy_.authorize_subscribe(session.client, text, *granted) != mqtt::kSubscribeRefused) continue;
    index_.unsubscribe(session.slot, filter);
    session.state.drop(filter);
    forget_retained(session, text);
    if (session.stored()) store_.unsubscribe(session.client.client_id, text);
  }
}

void Engine::send_connack(Connection& connection, bool session_present) {
  mqtt::append_connack(connection.out(), {session_present, ConnectCode::kAccepted});
  connection.phase = Phase::kOpen;
  connection.last_input_tick = tick();
  wheel_.cancel(connection);
  if (connection.keep_alive_s > 0) wheel_.arm(connection, connection.deadline());
  connection.commit_output();
  auto& session = *connection.session;
  event(ClientChange::kConnected, session.client, session_present ? "session-present" : "session-new",
        &connection, mqtt::Qos::kAtMostOnce, session.stored());
  queue_pump(session);
  wants_input(connection);  // packets that came right behind CONNECT [MQTT-3.1.4-5]
}

void Engine::teardown(Connection& connection, const char* cause) {
  leave_half_open(connection);
  connection.phase = Phase::kLingering;
  connection.allowed_topic = {};
  connection.fixed_deadline_tick =
      tick() +
      std::chrono::ceil<std::chrono::seconds>(options_.limits.linger_deadline).count() * kTicksPerSecond;
  wheel_.arm(connection, connection.fixed_deadline_tick);
  if (auto* session = std::exchange(connection.session, nullptr); session != nullptr) {
    session->connection = nullptr;
    session->offline_since_tick = tick();
    if (const auto will = std::move(connection.will); will) {  // [MQTT-3.1.2-8]
      const auto& message = *will->message;
      if (policy_.authorize_publish(session->client, message.topic(), message.qos()) ==
          PublishVerdict::kRoute) {
        publish_own(message.topic(), message.payload(), message.qos(), will->retain);
      } else {
        mqtt::PublishPacket packet;
        packet.topic = message.topic();
        packet.payload = message.payload();
        packet.qos = message.qos();
        packet.retain = will->retain;
        if (policy_.authorize_publish(session->client, message.topic(), message.qos()) ==
            PublishVerdict::kIntercept) {
          policy_.on_publish(session->client, packet, [](bool) {});
        }
      }
    }
    event(ClientChange::kDisconnected, session->client, cause, &connection, mqtt::Qos::kAtMostOnce,
          session->stored());
    if (session->stored()) {
      session->state.outbox.suspend();
      store_.rest(session->queue);
    } else {
      end_session(*session, "clean");
    }
  } else {
    never_connected(connection, cause);
  }
  connection.linger();
}

// It ended without a client: garbage, a failed handshake, nothing at all. Who was refused has been told so,
// and who only looks whether somebody listens is no trouble.
void Engine::never_connected(const Connection& connection, std::string_view cause) {
  if (cause == "connection-failed" || cause == "connect-deadline") ++stats_.protocol_errors;
  for (const auto* quiet : {"refused", "peer-closed", "half-open-limit", "server-shutdown", "taken-over"}) {
    if (cause == quiet) return;
  }
  trouble(8, "connection without a client: " + std::string(cause) + ", from " + connection.peer_text());
}

GroupKey Engine::end_session(ClientSession& session, const char* reason) {
  GroupKey group = 0;
  for (const auto filter : session.state.filters) index_.unsubscribe(session.slot, filter);
  for (const auto token : session.state.outbox.tokens()) policy_.on_delivered(session.client, token, false);
  if (session.stored()) {
    group = store_.remove(session.client.client_id, reason);
    last_group_ = std::max(last_group_, group);
    queues_.erase(session.queue);
  }
  event(ClientChange::kSessionEnded, session.client, reason, nullptr);
  sessions_.erase(session.client.client_id);
  free_slots_.push_back(session.slot);
  slots_[session.slot].reset();
  return group;
}

void Engine::disconnect(std::string_view client_id, std::string_view cause, Broker::SessionFate fate) {
  auto* session = find(client_id);
  if (session == nullptr) return;
  const auto slot = session->slot;
  const auto client = session->client.id;
  if (session->connection != nullptr) teardown(*session->connection, causes_.emplace(cause).first->c_str());
  // A clean session ended with its connection.
  if (slots_[slot] != nullptr && slots_[slot]->client.id == client && fate == Broker::SessionFate::kRemove) {
    end_session(*slots_[slot], "removed");
  }
}

Status Engine::load() {
  auto sessions = store_.load_sessions();
  if (!sessions) return sessions.error();
  for (const auto& stored : *sessions) {
    auto& session = new_slot(stored.client_id);
    session.client.identity = stored.owner;
    session.queue = stored.queue;
    session.state.clean = false;
    queues_.emplace(stored.queue, &session);
    for (const auto& subscription : stored.subscriptions) {
      session.state.filters.push_back(
          index_.subscribe(session.slot, subscription.filter, subscription.qos).filter);
    }
    for (const auto id : stored.incoming) session.state.inbox.begin(id);
    for (const auto id : stored.releases) session.state.outbox.push_released(id);
  }
  auto retained = store_.load_retained();
  if (!retained) return retained.error();
  for (const auto& stored : *retained) {
    retained_.put(mqtt::Message::make(stored.topic, stored.payload, stored.qos));
  }
  return {};
}

}  // namespace decklog::broker
