// Twins of the official SDK: both ways, live, over restarts, without an uplink, and what is refused.
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

class Twin : public HubTest {
 protected:
  void put_desired(const std::string& module, const std::string& text) {
    const auto put = hub_.fleet().put_desired({kDeviceId, module}, text, std::nullopt);
    ASSERT_TRUE(put) << describe(put.error());
  }
  json::object reported(const std::string& module) {
    const auto value = hub_.fleet().get_reported({kDeviceId, module});
    return value && value->revision != 0 ? json::parse(value->json).as_object() : json::object();
  }
  // The twin as the client reads it.
  json::object twin(const std::string& as) {
    const auto got = puppet_.call("twin", as);
    EXPECT_TRUE(got.ok) << got.error << ": " << got.message;
    return got.ok ? got.value.as_object() : json::object();
  }
};

TEST_F(Twin, BothWays) {
  put_desired("sensor", R"({"interval":5,"nested":{"a":[1,2,{"b":true}]}})");
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  auto got = twin(sensor);
  EXPECT_EQ(got.at("desired").at("interval"), 5);
  EXPECT_EQ(got.at("desired").at("nested"), json::parse(R"({"a":[1,2,{"b":true}]})"));
  EXPECT_GT(got.at("desired").at("$version").to_number<int>(), 0);

  do_("report", sensor, {{"patch", {{"temperature", 21.5}, {"gone", "soon"}, {"o", {{"x", 1}, {"y", 2}}}}}});
  do_("report", sensor, {{"patch", {{"gone", nullptr}, {"o", {{"x", nullptr}}}, {"late", "\xC3\xA9"}}}});
  const auto expected = json::parse(R"({"temperature":21.5,"o":{"y":2},"late":"é"})").as_object();
  EXPECT_TRUE(eventually([&] {
    auto seen = reported("sensor");
    seen.erase("$version");
    return seen == expected;
  })) << json::serialize(reported("sensor"));
  got = twin(sensor);
  EXPECT_EQ(got.at("reported").at("temperature"), 21.5);
  EXPECT_FALSE(got.at("reported").as_object().contains("gone"));
}

TEST_F(Twin, DesiredChangesComeLiveWithTheirVersion) {
  put_desired("sensor", R"({"interval":5,"old":1})");
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  twin(sensor);
  do_("watchDesired", sensor);
  ASSERT_EQ(puppet_.wait("desired", sensor).size(), 1u);  // the SDK says the present state first
  ASSERT_TRUE(eventually([&] {
    return hub_.get("/v1/clients").find("properties/desired") != std::string::npos;
  })) << hub_.get("/v1/clients");
  put_desired("sensor", R"({"interval":6,"new":{"deep":1}})");
  const auto patches = puppet_.wait("desired", sensor, 2);
  ASSERT_EQ(patches.size(), 2u);
  const auto& patch = patches[1].at("patch").as_object();
  EXPECT_EQ(patch.at("interval"), 6);
  EXPECT_EQ(patch.at("new"), json::parse(R"({"deep":1})"));
  EXPECT_TRUE(patch.at("old").is_null());
  EXPECT_TRUE(patch.contains("$version"));
}

TEST_F(Twin, AChangeMadeWhileTheHubWasAwayIsNotMissed) {
  put_desired("sensor", R"({"interval":5})");
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  twin(sensor);
  do_("inputs", sensor);  // a listener: the SDK comes back by itself
  do_("watchDesired", sensor);
  ASSERT_EQ(puppet_.wait("desired", sensor).size(), 1u);
  ASSERT_TRUE(
      eventually([&] { return hub_.get("/v1/clients").find("properties/desired") != std::string::npos; }));
  hub_.kill();
  put_desired("sensor", R"({"interval":7})");
  hub_.start();
  // The SDK does not subscribe again; the session has it.
  const auto patches = puppet_.wait("desired", sensor, 2);
  ASSERT_EQ(patches.size(), 2u) << hub_.log();
  EXPECT_EQ(patches[1].at("patch").at("interval"), 7);
}

TEST_F(Twin, OfflineItIsAnsweredFromTheCacheAndReportedLater) {
  put_desired("sensor", R"({"interval":5})");
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  twin(sensor);
  hub_.cut_uplink();
  do_("report", sensor, {{"patch", {{"offline", true}}}});
  const auto got = twin(sensor);
  EXPECT_EQ(got.at("desired").at("interval"), 5);
  EXPECT_EQ(got.at("reported").at("offline"), true);
  EXPECT_FALSE(reported("sensor").contains("offline"));
  hub_.restore_uplink();
  EXPECT_TRUE(eventually([&] { return reported("sensor").contains("offline"); }));
}

TEST_F(Twin, WhatBreaksTheRulesIsRefusedWithAReasonAndChangesNothing) {
  put_desired("sensor", "{}");
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  twin(sensor);
  do_("report", sensor, {{"patch", {{"good", 1}}}});
  for (const json::object& bad :
       {json::object{{"a.b", 1}}, json::object{{"a b", 1}}, json::object{{"$x", 1}},
        json::object{{"n", 9007199254740993}}, json::object{{"list", json::array{1, nullptr}}},
        json::object{{"long", std::string(5000, 'x')}}}) {
    const auto refused = puppet_.call("report", sensor, {{"patch", bad}});
    EXPECT_FALSE(refused.ok) << json::serialize(bad).substr(0, 100);
    EXPECT_FALSE(refused.message.empty());
  }
  // Each part fits, the whole does not.
  bool full = false;
  for (int i = 0; i < 10 && !full; ++i)
    full =
        !puppet_.call("report", sensor, {{"patch", {{"part" + std::to_string(i), std::string(4000, 'x')}}}})
             .ok;
  EXPECT_TRUE(full);
  const auto got = twin(sensor).at("reported").as_object();
  EXPECT_EQ(got.at("good"), 1);
  EXPECT_FALSE(got.contains("a.b"));
  EXPECT_TRUE(got.contains("part7"));
  EXPECT_FALSE(got.contains("part9"));
}

}  // namespace
}  // namespace decklog::hub::test
