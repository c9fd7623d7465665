// Routes as the desired properties of $edgeHub hold them: {"name": "FROM ..."} in every schema, and from
// schema 1.1
// {"name": {"route": "FROM ...", "priority": 0..9, "timeToLiveSecs": 0..4294967295}}.
// Pure. A document that is no such thing is an error as a whole; one bad route is refused and the others
// work. Order: by name, so that equal priorities are settled the same way on every run and machine.
#pragma once

#include <boost/json/value.hpp>
#include <string_view>

#include "events/result.hpp"
#include "services/routing/route.hpp"

namespace decklog::routing {

// `routes` is the member of that name, `schema` the schemaVersion beside it ("1.0" to "1.3").
Result<RouteSet> compile_routes(const boost::json::value& routes, std::string_view schema);

// One route in either form; `where` names it in errors.
Result<RouteSpec> read_route_spec(std::string_view name, const boost::json::value& route,
                                  std::string_view where);

}  // namespace decklog::routing
