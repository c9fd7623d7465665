// Telemetry, inputs and cloud-to-device messages of the official SDK, online and offline.
#include <set>

#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

using testing::Contains;
using testing::Pair;

class Messages : public HubTest {};

// A list of pairs as the SDK takes and gives it, in order, repeats included.
const json::array kOddProperties{
    json::array{"plain", "v"},
    json::array{"a b", "c d"},
    json::array{"slash/key", "a/b/c"},
    json::array{"signs", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
    json::array{"unicode-\xC3\xA9\xE2\x82\xAC", "\xF0\x9F\x9A\x80 \xE4\xB8\xAD\xE6\x96\x87"},
    json::array{"percent", "%zz %41 100%"},
    json::array{"equals=key", "a=b==c"},
    json::array{"empty", ""},
    json::array{"twice", "1"},
    json::array{"twice", "2"},
    json::array{"newline", "a\r\nb\tc"},
    json::array{"$.cdid", "somebody-else"},
    json::array{"plus", "1+1"},
};

std::vector<std::pair<std::string, std::string>> pairs_of(const json::array& list) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& pair : list) pairs.emplace_back(pair.at(0).as_string(), pair.at(1).as_string());
  return pairs;
}

TEST_F(Messages, EveryOddPropertyArrivesUpstreamAsItWasSent) {
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  const json::object system{{"messageId", "mid 1/2"},
                            {"correlationId", "c&c"},
                            {"contentType", "application/json"},
                            {"contentEncoding", "utf-8"}};
  do_("send", sensor,
      {{"output", "out"}, {"body", "{\"t\":1}"}, {"properties", kOddProperties}, {"system", system}});
  const auto leaf = open("leaf-1");
  do_("send", leaf, {{"body", "from a leaf"}});

  const auto records = hub_.wait_telemetry(2);
  ASSERT_EQ(records.size(), 2u);
  const auto& first = records[0].module == "sensor" ? records[0] : records[1];
  const auto& second = records[0].module == "sensor" ? records[1] : records[0];
  EXPECT_EQ(first.device, kDeviceId);
  EXPECT_EQ(first.module, "sensor");
  EXPECT_EQ(first.output, "out");
  EXPECT_EQ(first.body, "{\"t\":1}");
  for (const auto& pair : pairs_of(kOddProperties)) {
    // Who sent it is for the hub to say.
    EXPECT_EQ(testing::Value(first.properties, Contains(pair)), pair.first != "$.cdid") << pair.first;
  }
  EXPECT_THAT(first.properties, Contains(Pair("$.mid", "mid 1/2")));
  EXPECT_THAT(first.properties, Contains(Pair("$.cid", "c&c")));
  EXPECT_THAT(first.properties, Contains(Pair("$.ct", "application/json")));
  EXPECT_EQ(second.device, "leaf-1");
  EXPECT_EQ(second.module, "");
  EXPECT_EQ(second.body, "from a leaf");
  hub_.drained();
}

TEST_F(Messages, AnOutputReachesTheInputThatItsRouteNames) {
  start(R"~("hot":"FROM /messages/modules/sensor/outputs/readings WHERE as_number(level) > 7 )~"
        R"~(INTO BrokeredEndpoint(\"/modules/filter/inputs/in1\")")~");
  puppet_.start();
  const auto filter = open(kDeviceId, "filter");
  do_("inputs", filter);
  const auto sensor = open(kDeviceId, "sensor");
  auto properties = kOddProperties;
  properties.push_back(json::array{"level", "9"});
  do_("send", sensor,
      {{"output", "readings"}, {"body", "cold"}, {"properties", json::array{json::array{"level", "3"}}}});
  do_("send", sensor, {{"output", "other"}, {"body", "elsewhere"}, {"properties", properties}});
  do_("send", sensor,
      {{"output", "readings"},
       {"body", "hot"},
       {"properties", properties},
       {"system", {{"messageId", "m-1"}}}});

  const auto got = puppet_.wait("input", filter);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].at("input"), "in1");
  EXPECT_EQ(got[0].at("body"), "hot");
  EXPECT_EQ(got[0].at("system").at("messageId"), "m-1");
  const auto seen = pairs_of(got[0].at("properties").as_array());
  for (const auto& pair : pairs_of(properties)) {
    EXPECT_EQ(testing::Value(seen, Contains(pair)), pair.first != "$.cdid") << pair.first;
  }
  EXPECT_THAT(seen, Contains(Pair("$.cdid", kDeviceId)));
  EXPECT_THAT(seen, Contains(Pair("$.cmid", "sensor")));
  EXPECT_THAT(seen, testing::Not(Contains(Pair("$.cdid", "somebody-else"))));
  EXPECT_THAT(seen, testing::Not(Contains(Pair("$.on", testing::_))));
  hub_.drained();
}

TEST_F(Messages, WhatComesWhileTheReceiverIsAwayWaitsForItInOrder) {
  start(
      R"~("all":"FROM /messages/modules/sensor/outputs/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in1\")")~");
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  do_("sendMany", sensor, {{"output", "o"}, {"first", 0}, {"count", 200}});
  const auto filter = open(kDeviceId, "filter");
  do_("inputs", filter);
  const auto got = puppet_.wait("input", filter, 200);
  ASSERT_EQ(got.size(), 200u);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(text(got[i].at("body")), std::to_string(i));
  hub_.drained();
}

TEST_F(Messages, LargeOnesAreTakenUpToTheLimit) {
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  do_("send", sensor, {{"body", std::string(262'144, 'x')}});
  do_("send", sensor, {{"body", ""}});
  const auto records = hub_.wait_telemetry(2);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].body.size() + records[1].body.size(), 262'144u);
}

TEST_F(Messages, FromTheCloudToALeaf) {
  start();
  puppet_.start();
  const auto leaf = open("leaf-1");
  do_("cloudMessages", leaf);
  uplink::CloudMessage message;
  message.device = "leaf-1";
  message.body = "wake up";
  message.properties = {{"k 1", "v/1"}, {"$.mid", "c2d-1"}};
  ASSERT_TRUE(hub_.fleet().send(message));
  const auto got = puppet_.wait("cloud", leaf);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].at("body"), "wake up");
  EXPECT_EQ(got[0].at("system").at("messageId"), "c2d-1");
  EXPECT_THAT(pairs_of(got[0].at("properties").as_array()), Contains(Pair("k 1", "v/1")));
}

TEST_F(Messages, OfflineTheHubAuthenticatesFromItsCacheAndKeepsWhatItAccepts) {
  start();
  puppet_.start();
  auto sensor = open(kDeviceId, "sensor");
  do_("send", sensor, {{"body", "before"}});
  hub_.wait_telemetry(1);
  do_("close", sensor);
  hub_.cut_uplink();
  sensor = open(kDeviceId, "sensor");  // nobody to ask
  do_("sendMany", sensor, {{"first", 0}, {"count", 300}});
  hub_.kill();  // and the queue is on disk
  hub_.start();
  do_("sendMany", sensor, {{"first", 300}, {"count", 50}});
  EXPECT_EQ(hub_.telemetry().size(), 1u);
  hub_.restore_uplink();
  const auto records = hub_.wait_telemetry(351);
  ASSERT_GE(records.size(), 351u);
  std::set<std::string> bodies;
  for (const auto& record : records) bodies.insert(record.body);
  EXPECT_EQ(bodies.size(), 351u);
  hub_.drained();
}

}  // namespace
}  // namespace decklog::hub::test
