// What the hub shows of itself: reported document, clients, queues; and what it writes into its log.
#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include "events/build.hpp"
#include "services/hub/hub_parts.hpp"
#include "services/hub/reported_clients.hpp"

namespace decklog::hub {

namespace json = boost::json;

std::string Hub::reported() const {
  return json::serialize(json::object{
      {"schemaVersion", "1.1"},
      {"version", json::object{{"version", kVersion}, {"build", build_id()}}},
      {"lastDesiredVersion", parts_->desired_version},
      {"lastDesiredStatus",
       json::object{{"code", parts_->desired_code}, {"description", parts_->desired_description}}},
      {"clients", reported_clients(state().clients)}});
}

std::string Hub::clients_json() const {
  json::array out;
  for (const auto& [name, record] : state().clients) {
    json::object line{{"client", name},
                      {"state", name_of(record.life.state)},
                      {"since", to_rfc3339(record.changed)},
                      {"peer", record.peer},
                      {"cause", record.cause},
                      {"storming", record.life.storming}};
    for (const auto& now : parts_->head->clients()) {
      if (now.client.client_id() != name) continue;
      json::array filters;
      for (const auto& filter : now.subscriptions) filters.emplace_back(filter);
      line["subscriptions"] = std::move(filters);
    }
    out.push_back(std::move(line));
  }
  return json::serialize(
      json::object{{"clients", std::move(out)}, {"uplink", name_of(state().uplink.state)}});
}

std::string Hub::queues_json(bool all) {
  json::array queues, routes;
  for (const auto& queue : parts_->messages->queues(surroundings_.now())) {
    const auto& c = queue.counters;
    const bool session = queue.name.kind == persistence::QueueKind::kSession;
    if (session && c.queued == 0 && !all) continue;  // one for each client that ever came
    json::object dropped;
    for (const auto& drop : queue.dropped) dropped[drop.reason] = drop.count;
    queues.push_back(json::object{{"queue", queue.name.name},
                                  {"kind", session ? "session" : "endpoint"},
                                  {"priority", queue.name.priority},
                                  {"queued", c.queued},
                                  {"bytes", c.queued_bytes},
                                  {"accepted", c.accepted},
                                  {"delivered", c.delivered},
                                  {"expired", c.expired},
                                  {"dropped", c.dropped},
                                  {"droppedBy", std::move(dropped)},
                                  {"oldest", to_text(queue.oldest_age)},
                                  {"conserved", c.conserved()}});
  }
  for (const auto& route : parts_->messages->routes()) {
    const auto& c = route.counters;
    routes.push_back(json::object{{"route", route.name},
                                  {"accepted", c.accepted},
                                  {"delivered", c.delivered},
                                  {"expired", c.expired},
                                  {"dropped", c.dropped},
                                  {"queued", c.queued},
                                  {"conserved", c.conserved()}});
  }
  return json::serialize(json::object{{"queues", std::move(queues)}, {"routes", std::move(routes)}});
}

// What was lost until now has been told to the losses once this turn's posted work is done.
void Hub::compare_losses() {
  boost::asio::post(context_, [this, routes = parts_->messages->routes(), alive = parts_->alive] {
    if (*alive) parts_->losses.compare(routes);
  });
}

std::string Hub::not_ready() const {
  if (stopping_) return "stopping";
  if (parts_->messages->status().refusing) return "the message store takes no messages: disk full or failing";
  if (journal_.journal->stats().degraded) return "the log is not written: disk full or failing";
  return "";
}

void Hub::observe(const std::string& client, std::string observation, std::string cause, std::string peer,
                  std::string detail) {
  parts_->loop->submit(
      ClientObserved{client, std::move(observation), std::move(cause), std::move(peer), std::move(detail)});
}

void Hub::note(Fact fact) {
  parts_->loop->note(std::move(fact));
}

bool Hub::storming(const std::string& client) const {
  const auto found = state().clients.find(client);
  return found != state().clients.end() && found->second.life.storming;
}

std::uint16_t Hub::port(std::string_view listener) const {
  return parts_->broker->port(listener);
}

}  // namespace decklog::hub
