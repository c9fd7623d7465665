// The head towards clients: who may connect, what their topics mean, their coming and going.
#include "services/hub/head_impl.hpp"
#include "services/hub/head_rules.hpp"
#include "services/hub/telemetry_in.hpp"

namespace decklog::hub {

using broker::ClientChange;
using broker::PublishVerdict;
using iothub::FilterKind;
using mqtt::ConnectCode;

namespace {

constexpr const char* kStorm = "reconnect-storm";

bool iothub_namespace(std::string_view topic) {
  return topic.starts_with("$iothub/") || topic.starts_with("devices/");
}

iothub::ClientName named(const Identity& client) {
  return {client.device, client.module};
}

}  // namespace

// ---- connecting

std::string Head::Impl::present_peer(const std::string& client_id) const {
  const auto found = clients_.all().find(client_id);
  return found != clients_.all().end() && found->second.connected ? found->second.peer : "";
}

void Head::Impl::authenticate(broker::ConnectInfo info, std::function<void(broker::ConnectVerdict)> done) {
  if (!log_.may_try(info.client_id, info.peer, present_peer(info.client_id)))
    return done({ConnectCode::kServerUnavailable, {}, kStorm});
  broker::ConnectInfo kept;
  kept.client_id = info.client_id;
  kept.peer = info.peer;
  identities_->check(
      info, [this, kept, done = std::move(done), alive = weak_from_this()](Identities::Verdict verdict) {
        if (!alive.expired()) admitted(kept, std::move(verdict), done);
      });
}

void Head::Impl::admitted(const broker::ConnectInfo& info, Identities::Verdict verdict,
                          const std::function<void(broker::ConnectVerdict)>& done) {
  if (verdict.code != ConnectCode::kAccepted) return done({verdict.code, {}, std::move(verdict.cause)});
  if (!log_.arrived(client_name(verdict.identity, info.client_id), info.peer, present_peer(info.client_id)))
    return done({ConnectCode::kServerUnavailable, {}, kStorm});
  if (verdict.client) arriving_[info.client_id] = {std::move(*verdict.client), std::move(verdict.proof)};
  done({verdict.code, std::move(verdict.identity), {}});
}

// Only an IoT Hub identity is one of the head's clients.
ConnectedClient* Head::Impl::find(const broker::Client& client) {
  if (is_local(client.identity)) return nullptr;
  auto& entry = clients_.all()[client.client_id];
  if (entry.identity.device.empty()) entry.identity = identity_of(client.identity);
  return &entry;
}

// ---- topics

PublishVerdict Head::Impl::authorize_publish(const broker::Client& client, std::string_view topic) {
  const std::string name = client_name(client.identity, client.client_id);
  const auto refuse = [&](const char* why, PublishVerdict verdict) {
    ++stats_.refused_publishes.at({why});
    remarks_.say("topic", name,
                 std::string("PUBLISH refused, ") + why + ": " + std::string(topic.substr(0, 256)));
    return verdict;
  };
  if (!iothub_namespace(topic)) {
    if (may_publish(parts_.config.hub.topics, client.identity, topic)) return PublishVerdict::kRoute;
    return refuse("not allowed by hub.topics", PublishVerdict::kDrop);
  }
  if (is_local(client.identity)) return refuse("topic of an identity", PublishVerdict::kDrop);
  const auto meaning = iothub::parse_publish_topic(topic);
  if (const auto* bad = std::get_if<iothub::MalformedTopic>(&meaning)) {
    remarks_.say("topic", name, bad->why + ": " + std::string(topic.substr(0, 256)));
    return refuse("malformed", PublishVerdict::kClose);
  }
  const auto* telemetry = std::get_if<iothub::TelemetryTopic>(&meaning);
  if (telemetry && telemetry->client.client_id() != client.identity)
    return refuse("another identity", PublishVerdict::kClose);
  return PublishVerdict::kIntercept;
}

std::uint8_t Head::Impl::authorize_subscribe(const broker::Client& client, std::string_view filter,
                                             mqtt::Qos requested) {
  const auto refuse = [&](const char* why) {
    ++stats_.refused_subscribes.at({why});
    remarks_.say("topic", client_name(client.identity, client.client_id),
                 std::string("SUBSCRIBE refused, ") + why + ": " + std::string(filter.substr(0, 256)));
    return mqtt::kSubscribeRefused;
  };
  auto granted = static_cast<std::uint8_t>(requested);
  if (!iothub_namespace(filter)) {
    if (!may_subscribe(parts_.config.hub.topics, client.identity, filter))
      return refuse("not allowed by hub.topics");
  } else {
    if (is_local(client.identity)) return refuse("topic of an identity");
    switch (iothub::parse_filter(filter, named(identity_of(client.identity)))) {
      case FilterKind::kForeign:
        return refuse("another identity");
      case FilterKind::kUnsupported:
      case FilterKind::kOther:
        return refuse("nothing comes there");
      default:
        granted = std::min<std::uint8_t>(granted, 1);
    }
  }
  if (auto* entry = find(client)) entry->subscriptions.emplace(filter);
  return granted;
}

// ---- messages

void Head::Impl::on_publish(const broker::Client& client, const mqtt::PublishPacket& packet,
                            broker::PublishDone done) {
  const Identity sender = identity_of(client.identity);
  const auto meaning = iothub::parse_publish_topic(packet.topic);
  if (const auto* telemetry = std::get_if<iothub::TelemetryTopic>(&meaning)) {
    const bool will = !clients_.broker()->is_connected(client.client_id);
    auto message = telemetry_of(sender, *telemetry, packet, will);
    if (message) return parts_.sink.accept(std::move(*message), std::move(done));
    ++stats_.malformed;
    remarks_.say("telemetry", client.identity, "refused: " + describe(message.error()));
    return done(false);
  }
  if (const auto* get = std::get_if<iothub::TwinGetTopic>(&meaning)) {
    twins_->get(sender, get->rid);
  } else if (const auto* patch = std::get_if<iothub::TwinPatchTopic>(&meaning)) {
    twins_->patch(sender, patch->rid, packet.payload);
  } else if (const auto* response = std::get_if<iothub::MethodResponseTopic>(&meaning)) {
    methods_.on_response(sender, *response, packet.payload);
  }
  done(true);
}

// A delivery at QoS 0 is over inside send(), before its sender has written down that it is under way.
void Head::Impl::on_delivered(std::uint64_t token, bool acknowledged) {
  const bool mail = (token & CloudMail::kTokenMark) != 0;
  if (clients_.sending()) {
    return boost::asio::post(parts_.executor, [this, token, acknowledged, alive = weak_from_this()] {
      if (!alive.expired()) on_delivered(token, acknowledged);
    });
  }
  mail ? mail_.on_delivered(token, acknowledged) : parts_.sink.on_delivered(token, acknowledged);
}

// ---- coming and going

void Head::Impl::on_client(const broker::ClientEvent& event) {
  const auto& client = event.client;
  switch (event.change) {
    case ClientChange::kConnected:
      return came(event);
    case ClientChange::kSubscribed:
      if (const auto* entry = find(client)) subscribed(entry->identity);
      return;
    case ClientChange::kUnsubscribed:
      if (auto* entry = find(client)) entry->subscriptions.erase(std::string(event.detail));
      return;
    case ClientChange::kDisconnected:
      return went(event);
    case ClientChange::kSessionEnded:
      log_.session_ended(client_name(client.identity, client.client_id), event.detail);
      if (!is_local(client.identity)) clients_.all().erase(client.client_id);
      return;
    case ClientChange::kRefused:
      arriving_.erase(client.client_id);
      if (event.detail != kStorm) {
        log_.refused(client.client_id, identities_->known(identity_of(client.client_id)),
                     std::string(event.detail), std::string(event.peer));
      }
      return;
  }
}

void Head::Impl::came(const broker::ClientEvent& event) {
  const auto& client = event.client;
  ++stats_.connected;
  log_.connected(client_name(client.identity, client.client_id), event.session_kept, std::string(event.peer));
  auto* entry = find(client);
  if (!entry) return void(local_.insert(client.id));
  entry->connected = true;
  entry->peer = event.peer;
  if (const auto arriving = arriving_.extract(client.client_id)) entry->proof = arriving.mapped().second;
  if (entry->identity.module.empty()) parts_.uplink.accept_cloud_messages(entry->identity.device);
  // Its identity may have changed between the verdict and now.
  if (const auto good = identities_->recheck(entry->identity, entry->proof); !good)
    return recheck(entry->identity.device);
  subscribed(Identity(entry->identity));
}

// Connected with what it is subscribed to, or newly subscribed: whatever waits for it goes now.
void Head::Impl::subscribed(const Identity& who) {
  const Identity client = who;  // the entry may go meanwhile
  if (clients_.subscribed(client.client_id(), iothub::method_topic("x", "1")))
    parts_.uplink.accept_methods({client.device, client.module});
  twins_->on_ready(client);
  methods_.on_ready(client);
  mail_.on_ready(client);
  parts_.sink.on_client_ready(client);
}

void Head::Impl::went(const broker::ClientEvent& event) {
  const auto& client = event.client;
  log_.gone(client_name(client.identity, client.client_id), event.detail, std::string(event.peer));
  auto* entry = find(client);
  // One that goes before its CONNACK never counted.
  const bool counted = entry ? std::exchange(entry->connected, false) : local_.erase(client.id) > 0;
  if (counted) --stats_.connected;
  if (!entry || !entry->identity.module.empty()) return;
  // When its session has come to rest.
  boost::asio::post(parts_.executor, [this, device = entry->identity.device, alive = weak_from_this()] {
    if (!alive.expired()) mail_.on_gone(device);
  });
}

}  // namespace decklog::hub
