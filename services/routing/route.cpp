#include "services/routing/route.hpp"

#include <algorithm>
#include <utility>

#include "services/routing/parser.hpp"
#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

std::string_view without_end(std::string_view text, char c) {
  while (text.ends_with(c)) text.remove_suffix(1);
  return text;
}

Endpoint endpoint_of(ParsedRoute& parsed) {
  Endpoint endpoint{std::move(parsed.module), std::move(parsed.input), {}};
  endpoint.id = endpoint.upstream() ? "$upstream" : endpoint.module + "/" + endpoint.input;
  return endpoint;
}

}  // namespace

std::optional<Route> compile_route(const RouteSpec& spec, Diagnostic& diagnostic) {
  ParsedRoute parsed;
  Parser parser(spec.query, diagnostic);
  if (!parser.parse_route(parsed)) return std::nullopt;
  if (spec.priority > kMaxPriority && spec.priority != kDefaultPriority) {
    diagnostic = {"priority is " + std::to_string(spec.priority) + "; expected 0 (highest) to 9", 1, 1};
    return std::nullopt;
  }
  Route route;
  route.spec = spec;
  route.source_prefix = std::string(without_end(without_end(parsed.source, '*'), '/')) + "/";
  route.source = std::move(parsed.source);
  route.condition = std::move(parsed.condition);
  route.endpoint = endpoint_of(parsed);
  return route;
}

Result<Route> compile_route(const RouteSpec& spec) {
  Diagnostic diagnostic;
  std::optional<Route> route = compile_route(spec, diagnostic);
  if (!route) return to_error(diagnostic, spec.name);
  return std::move(*route);
}

bool source_matches(const Route& route, std::string_view message_source) {
  message_source = without_end(message_source, '/');
  const std::string_view prefix = route.source_prefix;
  const std::string_view steps = prefix.substr(0, prefix.size() - 1);
  if (!starts_with_ignoring_case(message_source, steps)) return false;
  return message_source.size() == steps.size() || message_source[steps.size()] == '/';
}

Truth evaluate(const Route& route, const MessageView& message, Evaluation& evaluation) {
  if (!source_matches(route, message.source)) return Truth::kFalse;
  return route.condition ? evaluation.run(*route.condition) : Truth::kTrue;
}

RouteSet RouteSet::compile(std::vector<RouteSpec> specs) {
  RouteSet set;
  for (RouteSpec& spec : specs) {
    if (set.routes_.size() == kMaxRoutes) {
      set.refuse(spec.name, error(Errc::kTooLarge, "more than 1000 routes", "route " + spec.name));
      continue;
    }
    Result<Route> route = compile_route(spec);
    if (!route) {
      set.refuse(spec.name, route.error());
      continue;
    }
    const auto same = [&](const Endpoint& each) { return each.id == route->endpoint.id; };
    const auto found = std::find_if(set.endpoints_.begin(), set.endpoints_.end(), same);
    set.endpoint_of_.push_back(static_cast<std::uint32_t>(found - set.endpoints_.begin()));
    if (found == set.endpoints_.end()) set.endpoints_.push_back(route->endpoint);
    set.routes_.push_back(std::move(*route));
  }
  return set;
}

void RouteSet::evaluate(const MessageView& message, std::vector<Delivery>& deliveries) const {
  // One slot for each endpoint while routes are tried, then the slots nobody matched are dropped.
  deliveries.resize(endpoints_.size());
  for (Delivery& each : deliveries) each.matching.clear();
  Evaluation evaluation(message);
  for (std::uint32_t i = 0; i < routes_.size(); ++i) {
    if (routing::evaluate(routes_[i], message, evaluation) != Truth::kTrue) continue;
    const RouteSpec& spec = routes_[i].spec;
    Delivery& delivery = deliveries[endpoint_of_[i]];
    if (delivery.matching.empty() || spec.priority < delivery.priority) {
      delivery.endpoint = endpoint_of_[i];
      delivery.priority = spec.priority;
      delivery.ttl_seconds = spec.ttl_seconds;
      delivery.route = i;
    }
    delivery.matching.push_back(i);
  }
  std::erase_if(deliveries, [](const Delivery& each) { return each.matching.empty(); });
}

}  // namespace decklog::routing
