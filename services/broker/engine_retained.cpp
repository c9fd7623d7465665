// Retained messages: what a PUBLISH leaves behind, and its way to those who subscribe later.
#include <algorithm>
#include <limits>

#include "services/broker/engine.hpp"
#include "services/mqtt/encoder.hpp"

namespace decklog::broker {

using mqtt::Qos;

namespace {

constexpr std::size_t kTopicsPerTurn = 1'000;  // looked at for one session

}  // namespace

void Engine::retain(std::string_view sender, const mqtt::PublishPacket& packet, Gate& gate) {
  using Change = mqtt::RetainedMessages::Change;
  const auto change = retained_.put(mqtt::Message::make(packet.topic, packet.payload, packet.qos));
  if (change == Change::kNothing) return;
  if (change == Change::kFull) {
    ++stats_.dropped_retained_full;
    return trouble(5, "retained message limit reached");
  }
  const auto stored = store_.set_retained({packet.topic, packet.payload, packet.qos, sender});
  if (!stored) {
    ++stats_.dropped_retained_full;
    return trouble(5, "retained message not stored: " + describe(stored.error()));
  }
  gate.group = std::max(gate.group, *stored);
  last_group_ = std::max(last_group_, *stored);
}

// What is retained goes out as a retained message, once for each subscription made [MQTT-3.3.1-6, 3.3.1-8].
void Engine::send_retained(ClientSession& session, std::string_view filter, Qos granted) {
  forget_retained(session, filter);
  session.retained.push_back({std::string(filter), granted, {}});
  walk_retained(session);
}

void Engine::forget_retained(ClientSession& session, std::string_view filter) {
  std::erase_if(session.retained, [&](const RetainedWalk& walk) { return walk.filter == filter; });
}

// As much as the client has room for, and not all of it in one turn. A durable queue takes it at once: it has
// room, and a walk does not survive us.
void Engine::walk_retained(ClientSession& session) {
  std::size_t walked = 0;
  for (; walked < session.retained.size(); ++walked) {
    auto& walk = session.retained[walked];
    const bool whole = session.stored() && walk.granted != Qos::kAtMostOnce;
    bool room = true;
    const bool done = retained_.for_each(walk.filter, walk.after,
                                         whole ? std::numeric_limits<std::size_t>::max() : kTopicsPerTurn,
                                         [&](const mqtt::MessagePtr& message) {
                                           return room = give_retained(session, message, walk.granted);
                                         });
    if (done) continue;
    if (room) queue_pump(session);  // else whoever makes room does
    break;
  }
  session.retained.erase(session.retained.begin(),
                         session.retained.begin() + static_cast<std::ptrdiff_t>(walked));
}

// False when there is no room for it now.
bool Engine::give_retained(ClientSession& session, const mqtt::MessagePtr& message, Qos granted) {
  const auto qos = std::min(message->qos(), granted);
  auto* connection = session.connection;
  if (qos == Qos::kAtMostOnce) {
    if (connection == nullptr) return true;
    if (connection->backlog() > options_.limits.max_output_bytes) connection->flush();
    if (connection->phase != Phase::kOpen) return true;
    if (connection->backlog() > options_.limits.max_output_bytes)
      return false;  // it hears when that has gone
    mqtt::PublishPacket packet;
    packet.topic = message->topic();
    packet.payload = message->payload();
    packet.retain = true;
    mqtt::append_publish(connection->out(), packet);
    ++stats_.delivered[0];
    connection->commit_output();
  } else if (session.stored()) {
    Gate gate;
    targets_.assign(1, {session.queue, qos, true});
    put_targets({message->topic(), message->payload(), message->qos(), {}}, gate);
  } else {
    const auto bytes = message->topic().size() + message->payload().size();
    if (!session.state.outbox.has_room(bytes, options_.limits.outbox)) return false;
    deliver_in_memory(session, message, qos, true);
  }
  return true;
}

}  // namespace decklog::broker
