#include "services/hub/head.hpp"

#include "services/hub/head_impl.hpp"

namespace decklog::hub {

Head::Impl::Impl(HeadParts parts)
    : parts_(parts),
      remarks_(parts.log, parts.surroundings),
      log_(parts.log, parts.surroundings, remarks_, stats_),
      methods_(parts.executor, parts.surroundings, clients_),
      mail_(parts.surroundings, parts.uplink, clients_, remarks_, parts.tries),
      own_modules_(parts.modules.all()) {}

void Head::Impl::start() {
  const std::weak_ptr<void> alive = weak_from_this();
  const auto changed = [this](const Identity& client, std::string_view patch) {
    Ingest message;
    message.sender = client;
    message.properties = {{"$.ct", "application/json"}, {"$.ce", "utf-8"}};
    message.body = patch;
    message.twin_change = true;
    parts_.sink.accept(std::move(message), [](bool) {});
  };
  twins_.emplace(Twins::Parts{parts_.surroundings, parts_.uplink, clients_, remarks_, parts_.twins, stats_,
                              changed, alive});
  identities_.emplace(Identities::Parts{parts_.config, parts_.surroundings, parts_.uplink, remarks_,
                                        parts_.identities, parts_.modules, alive});
}

void Head::Impl::tick() {
  log_.tick();
  remarks_.tick();
  identities_->tick();
  twins_->tick();
  mail_.tick();
  if (own_modules_ == parts_.modules.all()) return;
  own_modules_ = parts_.modules.all();
  recheck(parts_.config.device);
}

Head::Head(HeadParts parts) : impl_(std::make_shared<Impl>(parts)) {
  impl_->start();
}
Head::~Head() = default;

void Head::attach(broker::Broker& broker) {
  impl_->attach(broker);
}
void Head::tick() {
  impl_->tick();
}
const HeadStats& Head::stats() const {
  return impl_->stats();
}

bool Head::deliver_input(const Identity& module, std::string_view input, const Ingest& message,
                         std::uint64_t token) {
  return impl_->deliver_input(module, input, message, token);
}
bool Head::connected(const Identity& client) const {
  return impl_->connected(client);
}
void Head::on_desired(const uplink::TwinKey& key, const uplink::TwinValue& value) {
  impl_->on_desired(key, value);
}
void Head::on_identity(const uplink::TwinKey& key, const std::string& json) {
  impl_->on_identity(key, json);
}
void Head::on_method(const uplink::MethodCall& call) {
  impl_->on_method(call);
}
void Head::on_cloud_message(const uplink::CloudMessage& message) {
  impl_->on_cloud_message(message);
}
void Head::on_link(bool up) {
  impl_->on_link(up);
}
std::vector<ClientSide::ClientLine> Head::clients() const {
  return impl_->clients();
}

void Head::authenticate(broker::ConnectInfo info, std::function<void(broker::ConnectVerdict)> done) {
  impl_->authenticate(std::move(info), std::move(done));
}
broker::PublishVerdict Head::authorize_publish(const broker::Client& client, std::string_view topic,
                                               mqtt::Qos) {
  return impl_->authorize_publish(client, topic);
}
std::uint8_t Head::authorize_subscribe(const broker::Client& client, std::string_view filter,
                                       mqtt::Qos requested) {
  return impl_->authorize_subscribe(client, filter, requested);
}
void Head::on_publish(const broker::Client& client, const mqtt::PublishPacket& packet,
                      broker::PublishDone done) {
  impl_->on_publish(client, packet, std::move(done));
}
void Head::on_client(const broker::ClientEvent& event) {
  impl_->on_client(event);
}
void Head::on_delivered(const broker::Client&, std::uint64_t token, bool acknowledged) {
  impl_->on_delivered(token, acknowledged);
}
void Head::on_trouble(std::string_view what) {
  impl_->on_trouble(what);
}
void Head::on_http(broker::HttpRequest request, std::function<void(broker::HttpAnswer)> done) {
  impl_->on_http(std::move(request), std::move(done));
}

}  // namespace decklog::hub
