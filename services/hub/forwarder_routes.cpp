// $edgeHub's desired document: routes and how long messages are kept.
#include <boost/json.hpp>

#include "services/hub/forwarder.hpp"
#include "services/routing/route_document.hpp"

namespace decklog::hub {

namespace json = boost::json;

MessageSink::Configured Forwarder::configure(const std::string& desired_json, std::uint64_t version) {
  json::error_code code;
  const auto value = json::parse(desired_json, code);
  if (code || !value.is_object()) return {400, "$: not a JSON object"};
  const auto& document = value.get_object();
  const auto* schema = document.if_contains("schemaVersion");
  if (!schema || !schema->is_string()) return {400, "$.schemaVersion: missing"};
  const auto* routes = document.if_contains("routes");
  static const json::value kNone = json::object();
  auto compiled = routing::compile_routes(routes ? *routes : kNone, std::string(schema->get_string()));
  if (!compiled) return {400, describe(compiled.error())};
  Duration ttl = default_ttl_;
  if (const auto* keep = document.if_contains("storeAndForwardConfiguration"); keep && keep->is_object()) {
    if (const auto* seconds = keep->get_object().if_contains("timeToLiveSecs");
        seconds && !seconds->is_null()) {
      if (!seconds->is_int64() || seconds->get_int64() > 4'294'967'295)
        return {400, "$.storeAndForwardConfiguration.timeToLiveSecs: must be a whole number of seconds"};
      ttl =
          seconds->get_int64() < 0 ? Duration::zero() : Duration(std::chrono::seconds(seconds->get_int64()));
    }
  }
  std::vector<persistence::RouteId> ids;
  for (const auto& route : compiled->routes()) {
    auto id = store_.open_route(route.spec.name);
    if (!id) return {500, describe(id.error())};
    ids.push_back(*id);
  }
  routes_ = std::move(*compiled);
  route_ids_ = std::move(ids);
  default_ttl_ = ttl;
  // Queues of endpoints that no route leads to any more are drained, not thrown away.
  Configured result;
  for (const auto& refused : routes_.refused()) {
    result.code = 400;
    result.description += (result.description.empty() ? "" : "; ") +
                          ("route " + refused.name + ": " + describe(refused.reason));
    log_.note(InputRejected{"route", refused.name, "version " + std::to_string(version), "route",
                            describe(refused.reason)});
  }
  log_.note(Remarked{"routes", "version " + std::to_string(version),
                     std::to_string(routes_.routes().size()) + " routes in force, " +
                         std::to_string(routes_.refused().size()) + " refused"});
  return result;
}

}  // namespace decklog::hub
