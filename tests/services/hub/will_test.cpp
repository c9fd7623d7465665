// Last wills of clients that go without a word: an identity's as its telemetry, a local user's on the topics
// it may use, nobody's on what it may not.
#include <memory>
#include <set>

#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

using testing::Contains;
using testing::Pair;

constexpr const char* kTopics = R"(
[[hub.topics]]
client = "panel"
filter = "plant/secret/#"
subscribe = true
[[hub.topics]]
client = "*"
filter = "plant/#"
publish = true
subscribe = true
[[hub.users]]
name = "panel"
password_file = "PASSWORD_FILE"
)";

class Wills : public testing::Test {
 protected:
  Wills() {
    hub_ = std::make_unique<HubRig>(HubSetup{.hub = with_password_file(kTopics, password_, "open sesame")});
    puppet_ = std::make_unique<Puppet>(hub_->folder());
    hub_->put_routes(R"("up":"FROM /messages/* INTO $upstream")");
    hub_->enrol(kDeviceId, "sensor");
    hub_->enrol("leaf-1");
    hub_->start();
    hub_->routes_applied();
    puppet_->start();
  }
  void TearDown() override { hub_->conserved(); }

  static json::object will(const std::string& topic, const std::string& body, bool retain = false) {
    return {{"topic", topic}, {"payload", body}, {"qos", 1}, {"retain", retain}};
  }
  void connect(const std::string& as, const json::object& arguments) {
    const auto answer = puppet_->call("mqtt", as, arguments);
    ASSERT_TRUE(answer.ok) << answer.message << hub_->log();
  }
  json::object panel(const std::string& id, const json::object& will) const {
    return {
        {"url", "mqtts://localhost:8883"},
        {"ca", hub_->ca_file()},
        {"options",
         json::object{{"clientId", id}, {"username", "panel"}, {"password", "open sesame"}, {"will", will}}}};
  }
  json::object with_will(const std::string& device, const std::string& module,
                         const json::object& will) const {
    return hub_->plain_client(device, module, {{"will", will}});
  }
  void end(const std::string& as, bool force) {
    ASSERT_TRUE(puppet_->call("end", as, {{"force", force}}).ok);
  }

  decklog::test::TempDir password_;
  std::unique_ptr<HubRig> hub_;
  std::unique_ptr<Puppet> puppet_;
};

TEST_F(Wills, OfAnIdentityIsItsTelemetry) {
  const std::string topic = "devices/edge-1/modules/sensor/messages/events/";
  connect("sensor", with_will(kDeviceId, "sensor", will(topic + "%24.on=alarm&why=gone%20away/", "dead")));
  connect("leaf", with_will("leaf-1", "", will("devices/leaf-1/messages/events/", "dead leaf", true)));
  end("sensor", true);
  end("leaf", true);
  const auto records = hub_->wait_telemetry(2);
  ASSERT_EQ(records.size(), 2u);
  const auto& sensor = records[0].module == "sensor" ? records[0] : records[1];
  const auto& leaf = records[0].module == "sensor" ? records[1] : records[0];
  EXPECT_EQ(sensor.output, "alarm");
  EXPECT_EQ(sensor.body, "dead");
  EXPECT_THAT(sensor.properties, Contains(Pair("why", "gone away")));
  EXPECT_THAT(sensor.properties, Contains(Pair("iothub-MessageType", "Will")));
  EXPECT_EQ(leaf.device, "leaf-1");
  EXPECT_THAT(leaf.properties, Contains(Pair("mqtt-retain", "true")));
  // Whoever says goodbye leaves none.
  connect("sensor", with_will(kDeviceId, "sensor", will(topic, "not meant")));
  ASSERT_TRUE(puppet_->call("publish", "sensor", {{"topic", topic}, {"body", "last word"}, {"qos", 1}}).ok);
  end("sensor", false);
  const auto after = hub_->wait_telemetry(3);
  ASSERT_EQ(after.size(), 3u);
  const auto word =
      std::find_if(after.begin(), after.end(), [](const auto& each) { return each.body == "last word"; });
  ASSERT_NE(word, after.end());
  EXPECT_THAT(word->properties, testing::Not(Contains(Pair("iothub-MessageType", "Will"))));
}

TEST_F(Wills, SpeaksInNobodyElsesName) {
  connect("sensor", with_will(kDeviceId, "sensor", will("devices/leaf-1/messages/events/", "forged")));
  connect("panel", panel("panel-1", will("devices/leaf-1/messages/events/", "forged")));
  end("sensor", true);
  end("panel", true);
  connect("sensor", hub_->plain_client(kDeviceId, "sensor"));
  ASSERT_TRUE(
      puppet_
          ->call("publish", "sensor",
                 {{"topic", "devices/edge-1/modules/sensor/messages/events/"}, {"body", "true"}, {"qos", 1}})
          .ok);
  const auto records = hub_->wait_telemetry(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].body, "true");
}

TEST_F(Wills, OnTheTopicsThatItsClientMayUse) {
  connect("watcher", panel("watcher", will("plant/x", "")));
  const auto listen = [&](const std::string& filter) {
    ASSERT_TRUE(puppet_->call("subscribe", "watcher", {{"filter", filter}, {"qos", 1}}).ok);
  };
  listen("plant/a/#");
  listen("plant/secret/#");
  connect("panel", panel("panel-1", will("plant/a/panel", "offline", true)));
  connect("sneaky", panel("panel-2", will("plant/secret/a", "may only listen here")));
  // An identity of IoT Hub uses these topics by the same rules.
  connect("sensor", with_will(kDeviceId, "sensor", will("plant/a/sensor", "offline too")));
  for (const char* each : {"sneaky", "panel", "sensor"}) end(each, true);
  const auto got = puppet_->wait("publish", "watcher", 2);
  ASSERT_EQ(got.size(), 2u);
  std::set<std::string> topics;
  for (const auto& each : got) topics.insert(text(each.at("topic")));
  EXPECT_EQ(topics, (std::set<std::string>{"plant/a/panel", "plant/a/sensor"}));
  // It was retained: whoever comes later is told.
  connect("late", panel("late", will("plant/x", "")));
  ASSERT_TRUE(puppet_->call("subscribe", "late", {{"filter", "plant/a/panel"}, {"qos", 1}}).ok);
  const auto kept = puppet_->wait("publish", "late");
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].at("body"), "offline");
  EXPECT_EQ(kept[0].at("retain"), true);
  EXPECT_EQ(puppet_->events("publish", "watcher").size(), 2u);
}

}  // namespace
}  // namespace decklog::hub::test
