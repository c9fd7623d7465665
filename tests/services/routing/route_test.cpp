// Routes and route sets as the hub uses them.
#include "services/routing/route.hpp"

#include <gtest/gtest.h>

#include <string>

namespace decklog::routing {
namespace {

RouteSpec spec(std::string name, std::string query, std::uint32_t priority = kDefaultPriority,
               std::uint32_t ttl = 0) {
  return {std::move(name), std::move(query), priority, ttl};
}

const std::string kToA = "FROM /messages/* INTO BrokeredEndpoint(\"/modules/a/inputs/x\")";
const std::string kUp = "FROM /messages/* INTO $upstream";
const PropertyView kRoom[] = {{"room", "attic"}};

std::vector<Delivery> deliveries(const RouteSet& set, std::string_view source) {
  std::vector<Delivery> result;
  set.evaluate(MessageView{source, "", kRoom, {}}, result);
  return result;
}

TEST(Route, KeepsWhatItWasMadeFrom) {
  const Result<Route> route =
      compile_route(spec("up", "from /messages/* where room = 'x' into $upstream", 3, 60));
  ASSERT_TRUE(route);
  EXPECT_EQ(route->source, "/messages/*");
  EXPECT_EQ(route->source_prefix, "/messages/");
  ASSERT_TRUE(route->condition);
  EXPECT_EQ(route->condition->query, "room = 'x'");
  EXPECT_EQ(route->condition->origin, 23u);
  EXPECT_TRUE(route->endpoint.upstream());
  EXPECT_EQ(route->endpoint.id, "$upstream");
  EXPECT_EQ(route->spec.priority, 3u);
}

TEST(Route, ABadPriorityIsRefused) {
  EXPECT_TRUE(compile_route(spec("r", kUp, 9)));
  const Result<Route> route = compile_route(spec("r", kUp, 10));
  ASSERT_FALSE(route);
  EXPECT_NE(route.error().message.find("0 (highest) to 9"), std::string::npos);
}

TEST(RouteSet, ABadRouteIsRefusedByNameAndColumnAndTheOthersWork) {
  const RouteSet set = RouteSet::compile(
      {spec("a", kToA), spec("bad", "FROM /messages WHERE room > 5 INTO $upstream"), spec("up", kUp)});
  ASSERT_EQ(set.refused().size(), 1u);
  EXPECT_EQ(set.refused()[0].name, "bad");
  EXPECT_EQ(set.refused()[0].reason.where, "route bad, column 27");
  EXPECT_EQ(set.routes().size(), 2u);
  EXPECT_EQ(deliveries(set, "/messages").size(), 2u);
}

TEST(RouteSet, OneCopyForEachEndpointWithTheBestPriorityAndEveryMatchingRoute) {
  const RouteSet set = RouteSet::compile({spec("late", kToA, 7, 70), spec("up", kUp),
                                          spec("first", kToA, 2, 20), spec("second", kToA, 2, 30),
                                          spec("no",
                                               "FROM /messages WHERE room = 'y' INTO BrokeredEndpoint("
                                               "'/modules/a/inputs/x')",
                                               0, 1)});
  const std::vector<Delivery> result = deliveries(set, "/messages/modules/m");
  ASSERT_EQ(result.size(), 2u);
  EXPECT_EQ(set.endpoints()[result[0].endpoint].id, "a/x");
  EXPECT_EQ(result[0].priority, 2u);
  EXPECT_EQ(result[0].ttl_seconds, 20u) << "the first of two equal priorities";
  EXPECT_EQ(set.routes()[result[0].route].spec.name, "first");
  EXPECT_EQ(result[0].matching, (std::vector<std::uint32_t>{0, 2, 3}));
  EXPECT_EQ(set.endpoints()[result[1].endpoint].id, "$upstream");
  EXPECT_EQ(result[1].priority, kDefaultPriority);
  EXPECT_EQ(result[1].matching, (std::vector<std::uint32_t>{1}));
}

TEST(RouteSet, ReusedDeliveriesStartAfresh) {
  const RouteSet set = RouteSet::compile({spec("a", kToA, 1, 5), spec("up", kUp)});
  std::vector<Delivery> result;
  const MessageView telemetry{"/messages", "", {}, {}};
  const MessageView twin{"/twinChangeNotifications", "", {}, {}};
  for (int i = 0; i < 3; ++i) {
    set.evaluate(telemetry, result);
    ASSERT_EQ(result.size(), 2u);
    EXPECT_EQ(result[0].priority, 1u);
    EXPECT_EQ(result[1].matching.size(), 1u);
    set.evaluate(twin, result);
    EXPECT_TRUE(result.empty());
  }
}

TEST(RouteSet, EndpointsDifferByModuleAndInputExactly) {
  const auto to = [](const std::string& address) {
    return "FROM /messages INTO BrokeredEndpoint(\"" + address + "\")";
  };
  const RouteSet set =
      RouteSet::compile({spec("1", to("/modules/a/inputs/x")), spec("2", to("modules/a/inputs/x/")),
                         spec("3", to("/modules/a/inputs/X")), spec("4", to("/modules/b/inputs/x"))});
  EXPECT_EQ(set.endpoints().size(), 3u);
}

TEST(RouteSet, TheNumberOfRoutesIsBounded) {
  std::vector<RouteSpec> specs;
  for (std::size_t i = 0; i < kMaxRoutes + 3; ++i) specs.push_back(spec("r" + std::to_string(i), kUp));
  const RouteSet set = RouteSet::compile(std::move(specs));
  EXPECT_EQ(set.routes().size(), kMaxRoutes);
  ASSERT_EQ(set.refused().size(), 3u);
  EXPECT_EQ(set.refused()[0].reason.code, Errc::kTooLarge);
  EXPECT_EQ(set.refused()[0].name, "r1000");
}

TEST(RouteSet, AnEmptySetRoutesNothing) {
  EXPECT_TRUE(deliveries(RouteSet::compile({}), "/messages").empty());
  EXPECT_TRUE(deliveries(RouteSet{}, "/messages").empty());
}

}  // namespace
}  // namespace decklog::routing
