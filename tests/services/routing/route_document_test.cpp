// The routes member of the $edgeHub desired properties.
#include "services/routing/route_document.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

namespace decklog::routing {
namespace {

Result<RouteSet> compiled(const std::string& routes, std::string_view schema = "1.1") {
  return compile_routes(boost::json::parse(routes), schema);
}

TEST(RouteDocument, TakesTextAndObjects) {
  const Result<RouteSet> set = compiled(R"json({
    "up": "FROM /messages/* INTO $upstream",
    "local": {"route": "FROM /messages INTO BrokeredEndpoint(\"/modules/b/inputs/i\")", "priority": 0,
              "timeToLiveSecs": 3600}})json");
  ASSERT_TRUE(set);
  ASSERT_EQ(set->routes().size(), 2u);
  EXPECT_EQ(set->routes()[0].spec.name, "local") << "by name";
  EXPECT_EQ(set->routes()[0].spec.priority, 0u);
  EXPECT_EQ(set->routes()[0].spec.ttl_seconds, 3600u);
  EXPECT_EQ(set->routes()[1].spec.priority, kDefaultPriority);
  EXPECT_TRUE(set->refused().empty());
}

TEST(RouteDocument, RefusesEachBadRouteByNameAndKeepsTheOthers) {
  const Result<RouteSet> set = compiled(R"({
    "good": "FROM /messages/* INTO $upstream",
    "grammar": "FROM /messages INTO nowhere",
    "kind": 5,
    "priority": {"route": "FROM /messages INTO $upstream", "priority": 11},
    "missing": {"priority": 1},
    "ttl": {"route": "FROM /messages INTO $upstream", "timeToLiveSecs": "1"}})");
  ASSERT_TRUE(set);
  EXPECT_EQ(set->routes().size(), 1u);
  std::string names;
  for (const RefusedRoute& each : set->refused()) {
    names += each.name + " ";
    EXPECT_EQ(each.reason.where.rfind("route " + each.name, 0), 0u) << each.reason.where;
  }
  EXPECT_EQ(names, "grammar kind priority missing ttl ");
  EXPECT_EQ(set->refused()[0].reason.where, "route grammar, column 21");
}

TEST(RouteDocument, BlankAndNullRoutesAreSwitchedOff) {
  const Result<RouteSet> set = compiled(R"({"a": "", "b": "  ", "c": null})");
  ASSERT_TRUE(set);
  EXPECT_TRUE(set->routes().empty());
  EXPECT_TRUE(set->refused().empty());
}

TEST(RouteDocument, SchemaOneKnowsOnlyText) {
  const Result<RouteSet> set = compiled(
      R"({"a": "FROM /messages INTO $upstream", "b": {"route": "FROM /messages INTO $upstream"}})", "1.0");
  ASSERT_TRUE(set);
  EXPECT_EQ(set->routes().size(), 1u);
  ASSERT_EQ(set->refused().size(), 1u);
  EXPECT_EQ(set->refused()[0].name, "b");
}

TEST(RouteDocument, UnknownSchemasAndOtherKindsAreErrorsAsAWhole) {
  for (const std::string_view schema : {"1.0", "1.1", "1.2", "1.3"})
    EXPECT_TRUE(compiled("{}", schema)) << schema;
  for (const std::string_view schema : {"", "1", "0.9", "1.4", "2.0", "one"}) {
    const Result<RouteSet> set = compiled("{}", schema);
    ASSERT_FALSE(set) << schema;
    EXPECT_EQ(set.error().code, Errc::kUnsupported);
  }
  EXPECT_TRUE(compiled("null"));
  EXPECT_EQ(compiled("[]").error().where, "$.routes");
}

}  // namespace
}  // namespace decklog::routing
