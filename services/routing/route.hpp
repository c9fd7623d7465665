// Routes: [SELECT *] FROM <source> [WHERE <condition>] INTO <sink>, one at a time and as the set of one
// configuration, compiled once and then only read.
// Lifetime: a RouteSet owns everything it was made from; results name routes and endpoints by index into it.
// Thread: values; evaluate() is const and may run on several threads at once.
// Failure: a route that does not compile is refused by name and column and the others go on working.
// Limits: services/routing/limits.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"
#include "services/routing/condition.hpp"
#include "services/routing/evaluation.hpp"
#include "services/routing/limits.hpp"
#include "services/routing/message_view.hpp"

namespace decklog::routing {

// Where messages go: upstream, or an input of a module of this device.
struct Endpoint final {
  std::string module;  // empty: upstream
  std::string input;
  std::string id;  // "$upstream" or "module/input"

  bool upstream() const { return module.empty(); }
};

// A route as a configuration gives it.
struct RouteSpec final {
  std::string name;
  std::string query;
  std::uint32_t priority = kDefaultPriority;
  std::uint32_t ttl_seconds = 0;  // 0: the store's own
};

struct Route final {
  RouteSpec spec;
  std::string source;                  // as written
  std::string source_prefix;           // ends in '/'; a message's path plus '/' must begin with it
  std::optional<Condition> condition;  // none: every message of the source
  Endpoint endpoint;
};

struct RefusedRoute final {
  std::string name;
  Error reason;
};

std::optional<Route> compile_route(const RouteSpec& spec, Diagnostic& diagnostic);
Result<Route> compile_route(const RouteSpec& spec);

bool source_matches(const Route& route, std::string_view message_source);
// kTrue: the message takes this route.
Truth evaluate(const Route& route, const MessageView& message, Evaluation& evaluation);

// One copy of the message for one endpoint.
struct Delivery final {
  std::uint32_t endpoint = 0;  // index into RouteSet::endpoints()
  std::uint32_t priority = kDefaultPriority;
  std::uint32_t ttl_seconds = 0;        // of the route with that priority; the first of equals
  std::uint32_t route = 0;              // that route
  std::vector<std::uint32_t> matching;  // every route that led here, in the order of the set
};

class RouteSet final {
 public:
  // `specs` in the order of the configuration; what does not compile ends in refused().
  static RouteSet compile(std::vector<RouteSpec> specs);

  const std::vector<Route>& routes() const { return routes_; }
  const std::vector<Endpoint>& endpoints() const { return endpoints_; }
  const std::vector<RefusedRoute>& refused() const { return refused_; }
  // Adds a route that could not even be read from its document.
  void refuse(std::string name, Error reason) { refused_.push_back({std::move(name), std::move(reason)}); }

  // Replaces the content of `deliveries`: at most one for each endpoint, in the order of endpoints(). Reusing
  // the same vector from message to message saves its allocations.
  void evaluate(const MessageView& message, std::vector<Delivery>& deliveries) const;

 private:
  std::vector<Route> routes_;
  std::vector<std::uint32_t> endpoint_of_;  // of each route
  std::vector<Endpoint> endpoints_;
  std::vector<RefusedRoute> refused_;
};

}  // namespace decklog::routing
