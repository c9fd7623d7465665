#include "services/routing/route_document.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "services/routing/limits.hpp"

namespace decklog::routing {
namespace {

namespace json = boost::json;

std::string_view view(const json::string& text) {
  return {text.data(), text.size()};
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::optional<std::uint32_t> whole_number(const json::value& value, std::uint64_t most) {
  std::uint64_t number = 0;
  if (value.is_int64() && value.get_int64() >= 0) {
    number = static_cast<std::uint64_t>(value.get_int64());
  } else if (value.is_uint64()) {
    number = value.get_uint64();
  } else {
    return std::nullopt;
  }
  if (number > most) return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

Result<RouteSpec> read_object(RouteSpec spec, const json::object& object, std::string_view where) {
  const json::value* query = object.if_contains("route");
  if (query == nullptr || !query->is_string()) {
    return error(Errc::kMalformed, "expected a text member 'route'", std::string(where));
  }
  spec.query = std::string(view(query->get_string()));
  if (const json::value* priority = object.if_contains("priority")) {
    const auto number = whole_number(*priority, kMaxPriority);
    if (!number)
      return error(Errc::kMalformed, "priority expects a whole number from 0 (highest) to 9",
                   std::string(where));
    spec.priority = *number;
  }
  if (const json::value* ttl = object.if_contains("timeToLiveSecs")) {
    const auto number = whole_number(*ttl, UINT32_MAX);
    if (!number) {
      return error(Errc::kMalformed, "timeToLiveSecs expects a whole number from 0 to 4294967295",
                   std::string(where));
    }
    spec.ttl_seconds = *number;
  }
  return spec;
}

}  // namespace

Result<RouteSpec> read_route_spec(std::string_view name, const json::value& route, std::string_view where) {
  RouteSpec spec;
  spec.name = std::string(name);
  if (name.size() > kMaxRouteNameBytes) {
    return error(Errc::kTooLarge, "route name of more than 1024 bytes", std::string(where.substr(0, 80)));
  }
  if (const json::string* text = route.if_string()) {
    spec.query = std::string(view(*text));
    return spec;
  }
  if (const json::object* object = route.if_object()) return read_object(std::move(spec), *object, where);
  return error(Errc::kMalformed, "a route is text or an object", std::string(where));
}

Result<RouteSet> compile_routes(const json::value& routes, std::string_view schema) {
  if (schema != "1.0" && schema != "1.1" && schema != "1.2" && schema != "1.3") {
    return error(Errc::kUnsupported,
                 "schemaVersion '" + std::string(schema.substr(0, 40)) + "'; expected 1.0 to 1.3",
                 "$.schemaVersion");
  }
  if (routes.is_null()) return RouteSet{};
  const json::object* object = routes.if_object();
  if (object == nullptr) return error(Errc::kMalformed, "routes expects an object", "$.routes");
  std::vector<RouteSpec> specs;
  std::vector<RefusedRoute> unreadable;
  for (const auto& [key, value] : *object) {
    const std::string_view name(key.data(), key.size());
    const std::string where = "route " + std::string(name);
    if (value.is_null()) continue;  // deleted in the twin
    if (schema == "1.0" && !value.is_string()) {
      unreadable.push_back(
          {std::string(name), error(Errc::kMalformed, "schema 1.0 expects a route as text", where)});
      continue;
    }
    Result<RouteSpec> spec = read_route_spec(name, value, where);
    if (!spec) {
      unreadable.push_back({std::string(name), spec.error()});
    } else if (!is_blank(spec->query)) {
      specs.push_back(std::move(*spec));  // a blank route is the old way to switch one off
    }
  }
  std::sort(specs.begin(), specs.end(),
            [](const RouteSpec& a, const RouteSpec& b) { return a.name < b.name; });
  RouteSet set = RouteSet::compile(std::move(specs));
  for (RefusedRoute& each : unreadable) set.refuse(std::move(each.name), std::move(each.reason));
  return set;
}

}  // namespace decklog::routing
