// Clients that know nothing of IoT Hub: the npm client and mosquitto's tools on the topics that [hub.topics]
// gives them; and what identities may not do to each other.
#include <fstream>
#include <memory>
#include <sstream>

#include "services/iothub/credentials.hpp"
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

constexpr const char* kTopics = R"(
mqtt_plain = "127.0.0.1:1883"
allow_anonymous = true
[[hub.topics]]
client = "panel"
filter = "plant/secret/#"
[[hub.topics]]
client = "panel"
filter = "plant/#"
publish = true
subscribe = true
[[hub.topics]]
client = "anonymous"
filter = "plant/public/#"
subscribe = true
[[hub.users]]
name = "panel"
password_file = "PASSWORD_FILE"
)";

class PlainClient : public testing::Test {
 protected:
  PlainClient() {
    hub_ = std::make_unique<HubRig>(HubSetup{.hub = with_password_file(kTopics, password_, "open sesame")});
    puppet_ = std::make_unique<Puppet>(hub_->folder());
    hub_->put_routes(R"("up":"FROM /messages/* INTO $upstream")");
    hub_->start();
    hub_->routes_applied();
  }
  void TearDown() override {
    if (hub_->running()) hub_->conserved();
  }
  json::object panel(const std::string& password = "open sesame") const {
    return {
        {"url", "mqtts://localhost:8883"},
        {"ca", hub_->ca_file()},
        {"options", json::object{{"clientId", "panel-1"}, {"username", "panel"}, {"password", password}}}};
  }
  bool connect(const std::string& as, const json::object& arguments) {
    const auto answer = puppet_->call("mqtt", as, arguments);
    return answer.ok;
  }
  std::uint64_t granted(const std::string& as, const std::string& filter) {
    const auto answer = puppet_->call("subscribe", as, {{"filter", filter}, {"qos", 1}});
    return answer.ok ? answer.value.at(0).to_number<std::uint64_t>() : 0x80;
  }

  decklog::test::TempDir password_;
  std::unique_ptr<HubRig> hub_;
  std::unique_ptr<Puppet> puppet_;
};

TEST_F(PlainClient, AUserMayWhatTheRulesAllowAndNothingElse) {
  puppet_->start();
  EXPECT_FALSE(connect("wrong", panel("guess")));
  ASSERT_TRUE(connect("panel", panel()));
  EXPECT_EQ(granted("panel", "plant/#"), 0x80u);  // would hear what is secret
  EXPECT_EQ(granted("panel", "plant/a/#"), 1u);
  EXPECT_EQ(granted("panel", "plant/secret/x"), 0x80u);
  EXPECT_EQ(granted("panel", "elsewhere/#"), 0x80u);
  EXPECT_EQ(granted("panel", "#"), 0x80u);
  EXPECT_EQ(granted("panel", "$iothub/twin/res/#"), 0x80u);
  EXPECT_EQ(granted("panel", "devices/edge-1/modules/sensor/inputs/#"), 0x80u);
  ASSERT_TRUE(puppet_->call("publish", "panel", {{"topic", "plant/a/b"}, {"body", "x"}, {"qos", 1}}).ok);
  const auto got = puppet_->wait("publish", "panel");
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].at("topic"), "plant/a/b");
}

TEST_F(PlainClient, MosquittosToolsOnThePlainListener) {
  puppet_->start();
  ASSERT_TRUE(connect("panel", panel()));
  ASSERT_TRUE(puppet_
                  ->call("publish", "panel",
                         {{"topic", "plant/public/t"}, {"body", "kept"}, {"qos", 1}, {"retain", true}})
                  .ok);
  const std::string out = hub_->folder() + "/sub.out";
  fixture::ChildProcess subscriber;
  ASSERT_TRUE(subscriber.start({"mosquitto_sub", "-h", "127.0.0.1", "-p", "1883", "-t", "plant/public/#",
                                "-q", "1", "-v", "-C", "1", "-W", "60"},
                               out));
  EXPECT_TRUE(eventually([&] { return !subscriber.running(); }));
  std::ostringstream said;
  said << std::ifstream(out).rdbuf();
  EXPECT_EQ(said.str(), "plant/public/t kept\n");
  // The anonymous may listen, not speak: what it says reaches nobody.
  ASSERT_EQ(granted("panel", "plant/public/quiet"), 1u);
  fixture::ChildProcess publisher;
  ASSERT_TRUE(publisher.start(
      {"mosquitto_pub", "-h", "127.0.0.1", "-p", "1883", "-t", "plant/public/quiet", "-m", "x", "-q", "1"}));
  EXPECT_TRUE(eventually([&] { return !publisher.running(); }));
  ASSERT_TRUE(
      puppet_->call("publish", "panel", {{"topic", "plant/public/quiet"}, {"body", "mine"}, {"qos", 1}}).ok);
  const auto got = puppet_->wait("publish", "panel");
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].at("body"), "mine");
}

TEST_F(PlainClient, NobodySpeaksOrListensInAnothersName) {
  puppet_->start();
  hub_->enrol(kDeviceId, "sensor");
  hub_->enrol(kDeviceId, "other");
  ASSERT_TRUE(connect("sensor", hub_->plain_client(kDeviceId, "sensor")));
  EXPECT_EQ(granted("sensor", "devices/edge-1/modules/sensor/inputs/#"), 1u);
  EXPECT_EQ(granted("sensor", "devices/edge-1/modules/other/inputs/#"), 0x80u);
  EXPECT_EQ(granted("sensor", "devices/+/modules/+/inputs/#"), 0x80u);
  EXPECT_EQ(granted("sensor", "#"), 0x80u);
  (void)puppet_->begin(
      "publish", "sensor",
      {{"topic", "devices/edge-1/modules/other/messages/events/"}, {"body", "forged"}, {"qos", 1}});
  EXPECT_EQ(puppet_->wait("closed", "sensor").size(), 1u);
  ASSERT_TRUE(connect("other", hub_->plain_client(kDeviceId, "other")));
  ASSERT_TRUE(
      puppet_
          ->call("publish", "other",
                 {{"topic", "devices/edge-1/modules/other/messages/events/"}, {"body", "true"}, {"qos", 1}})
          .ok);
  const auto records = hub_->wait_telemetry(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].body, "true");
}

TEST_F(PlainClient, TokensForOthersExpiredOrForgedAreRefused) {
  puppet_->start();
  hub_->enrol("leaf-1");
  const auto with = [&](const std::string& password) {
    return connect("leaf", hub_->plain_client("leaf-1", "", {{"password", password}}));
  };
  EXPECT_FALSE(with(iothub::make_sas_token(kHost + "/devices/leaf-1", kKey, 1'000'000'000)));  // 2001
  EXPECT_FALSE(with(iothub::make_sas_token(kHost + "/devices/leaf-2", kKey, 4'000'000'000)));
  EXPECT_FALSE(with(iothub::make_sas_token("evil.net/devices/leaf-1", kKey, 4'000'000'000)));
  EXPECT_FALSE(with(iothub::make_sas_token(kHost + "/devices/leaf-1", kOtherKey, 4'000'000'000)));
  EXPECT_FALSE(with("SharedAccessSignature sr=&sig=&se="));
  EXPECT_FALSE(with(""));
  EXPECT_FALSE(
      connect("leaf", hub_->plain_client("leaf-1", "", {{"username", kHost + "/leaf-2/?api-version=1"}})));
  EXPECT_FALSE(connect("leaf", hub_->plain_client("leaf-1", "", {{"clientId", "leaf-2"}})));
  EXPECT_TRUE(with(iothub::make_sas_token(kHost + "/devices/leaf-1", kKey, 4'000'000'000)));
}

}  // namespace
}  // namespace decklog::hub::test
