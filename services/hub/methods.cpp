#include "services/hub/methods.hpp"

#include <boost/json.hpp>
#include <cinttypes>
#include <cstdio>

namespace decklog::hub {

namespace json = boost::json;

namespace {

bool is_json(std::string_view text) {
  json::error_code failed;
  json::parse(text, failed);
  return !failed;
}

// Part of a topic: no level, no wildcard, nothing a reader could stumble over.
bool usable_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxMethodNameBytes) return false;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7F || c == '/' || c == '+' || c == '#' || c == '?') return false;
  }
  return iothub::valid_utf8(name);
}

}  // namespace

MethodOutcome method_failure(unsigned failure, std::string_view message) {
  return {failure, 0, json::serialize(json::object{{"message", message}})};
}

Methods::Methods(boost::asio::any_io_executor executor, loop::Surroundings& surroundings, Clients& clients)
    : executor_(std::move(executor)), clients_(clients) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, surroundings.random());
  prefix_ = text;
}

bool Methods::ready(const Identity& client) const {
  const std::string id = client.client_id();
  return clients_.connected(id) && clients_.subscribed(id, iothub::method_topic("x", "1"));
}

void Methods::call(MethodRequest request, Done done) {
  if (!usable_name(request.name)) return done(method_failure(400, "bad method name"));
  if (request.payload.empty()) request.payload = "null";  // clients parse what comes
  if (request.payload.size() > kMaxMethodPayloadBytes)
    return done(method_failure(400, "payload larger than 128 KiB"));
  if (!is_json(request.payload)) return done(method_failure(400, "payload is not JSON"));
  const std::string id = request.target.client_id();
  const bool there = ready(request.target);
  if (!there && request.connect_timeout <= Duration::zero())
    return done(method_failure(404, "Client " + id + " not found"));
  if (calls_.size() >= kMaxMethods || open_[id] >= kMaxMethodsPerClient)
    return done(method_failure(429, "too many method calls under way"));
  char number[17];
  std::snprintf(number, sizeof number, "%" PRIx64, next_++);
  const std::string rid = prefix_ + number;
  ++open_[id];
  auto& call = *(calls_[rid] = std::make_unique<Call>(
                     Call{std::move(request), std::move(done), false, boost::asio::steady_timer(executor_)}));
  there ? send(rid, call) : arm(rid, call, call.request.connect_timeout);
}

void Methods::send(const std::string& rid, Call& call) {
  const std::string id = call.request.target.client_id();
  const bool queued = clients_.send(id, iothub::method_topic(call.request.name, rid), call.request.payload,
                                    mqtt::Qos::kAtMostOnce);
  if (!queued) return end(rid, method_failure(429, "Client " + id + " does not read what it is sent"));
  call.sent = true;
  arm(rid, call, call.request.response_timeout);
}

void Methods::arm(const std::string& rid, Call& call, Duration within) {
  call.deadline.expires_after(within);
  call.deadline.async_wait([this, rid](boost::system::error_code cancelled) {
    if (cancelled) return;
    const auto found = calls_.find(rid);
    if (found == calls_.end()) return;
    const std::string id = found->second->request.target.client_id();
    end(rid, found->second->sent ? method_failure(504, "Client " + id + " did not answer in time")
                                 : method_failure(404, "Client " + id + " not found"));
  });
}

void Methods::on_ready(const Identity& client) {
  if (!open_.contains(client.client_id()) || !ready(client)) return;
  std::vector<std::string> waiting;
  for (const auto& [rid, call] : calls_) {
    if (!call->sent && call->request.target == client) waiting.push_back(rid);
  }
  for (const auto& rid : waiting) {
    if (const auto found = calls_.find(rid); found != calls_.end()) send(rid, *found->second);
  }
}

void Methods::on_response(const Identity& client, const iothub::MethodResponseTopic& topic,
                          std::string_view payload) {
  const auto found = calls_.find(topic.rid);
  // Late, or not asked at all.
  if (found == calls_.end() || !found->second->sent || found->second->request.target != client) return;
  if (!topic.status)
    return end(topic.rid, method_failure(502, "the status of the client's answer is not a whole number"));
  if (payload.empty()) payload = "null";
  if (payload.size() > kMaxMethodPayloadBytes || !is_json(payload))
    return end(topic.rid, method_failure(502, "the client's answer is not JSON of at most 128 KiB"));
  end(topic.rid, {0, *topic.status, std::string(payload)});
}

void Methods::end(const std::string& rid, MethodOutcome outcome) {
  const auto found = calls_.find(rid);
  const auto call = std::move(found->second);
  calls_.erase(found);
  const auto count = open_.find(call->request.target.client_id());
  if (--count->second == 0) open_.erase(count);
  call->done(std::move(outcome));
}

}  // namespace decklog::hub
