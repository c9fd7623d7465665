#include "services/broker/broker.hpp"

#include "services/broker/engine.hpp"

namespace decklog::broker {

Broker::Broker(boost::asio::io_context& context, BrokerOptions options, BrokerPolicy& policy,
               SessionStore& store)
    : engine_(std::make_shared<Engine>(context, std::move(options), policy, store)) {}
Broker::~Broker() {
  engine_->kill();
}

Status Broker::open() {
  return engine_->open();
}
void Broker::close(std::function<void()> done) {
  engine_->close_all(std::move(done));
}
std::uint16_t Broker::port(std::string_view listener) const {
  return engine_->port(listener);
}

DeliverResult Broker::deliver(std::string_view client_id, const Delivery& delivery) {
  return engine_->deliver(client_id, delivery);
}
bool Broker::withdraw(std::string_view client_id, std::uint64_t token) {
  return engine_->withdraw(client_id, token);
}
void Broker::publish(std::string_view topic, std::string_view payload, mqtt::Qos qos, bool retain) {
  engine_->publish_own(topic, payload, qos, retain);
}

bool Broker::is_connected(std::string_view client_id) const {
  const auto* session = engine_->find(client_id);
  return session != nullptr && session->connection != nullptr && session->connection->phase == Phase::kOpen;
}
bool Broker::holds_subscription(std::string_view client_id, std::string_view topic) const {
  const auto* session = engine_->find(client_id);
  return session != nullptr && engine_->holds(*session, topic);
}
void Broker::disconnect(std::string_view client_id, std::string_view cause, SessionFate fate) {
  engine_->disconnect(client_id, cause, fate);
}
BrokerStats Broker::stats() const {
  return engine_->stats();
}

}  // namespace decklog::broker
