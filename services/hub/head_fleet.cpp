// The head towards the fleet and the forwarder: what comes for clients.
#include <boost/json.hpp>

#include "services/hub/head_impl.hpp"
#include "services/hub/method_http.hpp"
#include "services/hub/telemetry_in.hpp"

namespace decklog::hub {

namespace json = boost::json;

bool Head::Impl::deliver_input(const Identity& module, std::string_view input, const Ingest& message,
                               std::uint64_t token) {
  const Identity receiver = here(module);
  return clients_.send(receiver.client_id(), topic_of_input(receiver, input, message), message.body,
                       mqtt::Qos::kAtLeastOnce, token);
}

void Head::Impl::on_desired(const uplink::TwinKey& key, const uplink::TwinValue& value) {
  twins_->on_desired({key.device, key.module}, value);
}

void Head::Impl::on_link(bool up) {
  identities_->on_link(up);
  twins_->on_link(up);
  mail_.on_link(up);
}

std::vector<ClientSide::ClientLine> Head::Impl::clients() const {
  std::vector<ClientLine> lines;
  for (const auto& [id, client] : clients_.all()) {
    ClientLine line{client.identity, client.connected, client.peer, {}};
    for (const auto& filter : client.subscriptions) {
      if (line.subscriptions.size() == kMaxListedSubscriptions) break;
      line.subscriptions.push_back(filter);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

// ---- identities

void Head::Impl::on_identity(const uplink::TwinKey& key, const std::string& record) {
  identities_->on_identity({key.device, key.module}, record);
  recheck(key.device);
}

// A module may have come with its device's key, so a change of one is looked at for all of the device.
void Head::Impl::recheck(const std::string& device) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [id, client] : clients_.all()) {
    if (!client.connected || client.identity.device != device) continue;
    if (const auto good = identities_->recheck(client.identity, client.proof); !good)
      out.emplace_back(id, good.error().message);
  }
  using Fate = broker::Broker::SessionFate;
  for (const auto& [id, cause] : out) {
    remarks_.say("auth", id, "its connection was closed: the identity is " + cause);
    clients_.broker()->disconnect(id, cause, cause == "disabled" ? Fate::kRemove : Fate::kKeep);
  }
}

// ---- methods

void Head::Impl::call(MethodRequest request, Methods::Done done) {
  const std::pair key(request.from, request.target.client_id());
  const MonoTime begun = parts_.surroundings.now().mono;
  methods_.call(std::move(request),
                [this, key, begun, done = std::move(done), alive = weak_from_this()](MethodOutcome outcome) {
                  // What was called may be any name; only clients there are get a counter.
                  if (!alive.expired() && (outcome.failure == 0 || outcome.failure == 504)) {
                    const auto took = std::chrono::duration<double>(parts_.surroundings.now().mono - begun);
                    stats_.methods.at({key.first, key.second}).add(took.count());
                  }
                  done(std::move(outcome));
                });
}

void Head::Impl::on_method(const uplink::MethodCall& asked) {
  if (asked.module == "$edgeHub" && asked.device == parts_.config.device) return own_method(asked);
  MethodRequest request;
  request.from = "upstream";
  request.target = {asked.device, asked.module};
  request.name = asked.name;
  request.payload = asked.payload;
  request.response_timeout = std::clamp<Duration>(asked.timeout, std::chrono::seconds(1), kMethodTimeoutMax);
  call(std::move(request),
       [this, tag = asked.call_tag, alive = weak_from_this()](const MethodOutcome& outcome) {
         if (alive.expired()) return;
         const int status = outcome.failure != 0 ? static_cast<int>(outcome.failure) : outcome.status;
         parts_.uplink.answer_method(tag, {status, outcome.payload});
       });
}

// $edgeHub's own: ping, and RefreshDeviceScopeIdentityCache {"deviceIds":[...]}.
void Head::Impl::own_method(const uplink::MethodCall& asked) {
  const auto answer = [&](int status, std::string payload) {
    parts_.uplink.answer_method(asked.call_tag, {status, std::move(payload)});
  };
  if (asked.name == "ping") return answer(200, "null");
  if (asked.name != "RefreshDeviceScopeIdentityCache")
    return answer(400, method_failure(400, "no such method").payload);
  json::error_code failed;
  const auto value = json::parse(asked.payload, failed);
  const auto* ids = !failed && value.is_object() ? value.get_object().if_contains("deviceIds") : nullptr;
  if (!ids || !ids->is_array() || ids->get_array().size() > kMaxLookups)
    return answer(400, method_failure(400, "deviceIds must be a list of at most 64 ids").payload);
  for (const auto& id : ids->get_array()) {
    if (!id.is_string()) return answer(400, method_failure(400, "deviceIds must be strings").payload);
  }
  for (const auto& id : ids->get_array()) {
    const std::string device(id.get_string());
    identities_->refresh({device, {}}, [this, device](bool) { recheck(device); });
  }
  answer(200, "null");
}

void Head::Impl::on_http(broker::HttpRequest request, std::function<void(broker::HttpAnswer)> done) {
  auto read =
      read_method_http(request, parts_.config.device, [this](const Identity& caller, std::string_view token) {
        return identities_->check_token(caller, token);
      });
  if (auto* answer = std::get_if<broker::HttpAnswer>(&read)) {
    if (answer->status == 401)
      remarks_.say("auth", "method call", "refused from " + request.peer + ": " + answer->body);
    return done(std::move(*answer));
  }
  call(std::get<MethodRequest>(std::move(read)),
       [done = std::move(done)](const MethodOutcome& outcome) { done(method_http_answer(outcome)); });
}

}  // namespace decklog::hub
