#include "services/agent/telemetry.hpp"

#include "services/agent/direct_methods.hpp"

namespace decklog::agent {

struct Telemetry::Parts {
  Agent* agent = nullptr;
  uplink::Uplink* uplink = nullptr;
};

Telemetry::Telemetry(boost::asio::any_io_executor, const config::Config&, persistence::Journal&,
                     loop::Surroundings&)
    : parts_(std::make_unique<Parts>()) {}

Telemetry::~Telemetry() = default;

Status Telemetry::attach(Agent& agent, uplink::Uplink& uplink) {
  parts_->agent = &agent;
  parts_->uplink = &uplink;
  return {};
}

void Telemetry::take(const Envelope&) {}

std::vector<Fact> Telemetry::heads_after(const Envelope&) {
  return {};
}

void Telemetry::answer_method(const uplink::MethodCall& call) {
  run_direct_method(*parts_->agent, call, [this, tag = call.call_tag](const uplink::MethodAnswer& answer) {
    parts_->uplink->answer_method(tag, answer);
  });
}

}  // namespace decklog::agent
