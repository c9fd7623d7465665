// Cloud-to-device messages to a device that does not acknowledge: over a cut link, over lost connections,
// past their expiry. The device is a raw client, because the SDK acknowledges whatever it hears.
#include <filesystem>

#include "services/iothub/credentials.hpp"
#include "tests/services/broker/mqtt_client.hpp"
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

using broker::test::MqttClient;
using mqtt::PacketType;

constexpr int kTries = 10;  // what README.md of services/hub says

class CloudMailTest : public testing::Test {
 protected:
  void SetUp() override {
    hub_.enrol("leaf-1");
    hub_.put_routes(R"("up":"FROM /messages/* INTO $upstream")");
    hub_.start();
    hub_.routes_applied();
    leaf_ = connect();
    ASSERT_EQ(leaf_.subscribe("devices/leaf-1/messages/devicebound/#", 1), std::string(1, '\1'));
  }
  MqttClient connect(bool clean = false) {
    MqttClient client(1883);
    broker::test::ConnectOptions options;
    options.id = "leaf-1";
    options.clean = clean;
    options.username = kHost + "/leaf-1/?api-version=2021-04-12";
    options.password = iothub::make_sas_token(kHost + "/devices/leaf-1", kKey, 4'000'000'000);
    EXPECT_EQ(client.connect(options).code, 0) << hub_.log();
    return client;
  }
  void send(const std::string& body, const std::string& expiry = {}) {
    uplink::CloudMessage message;
    message.device = "leaf-1";
    message.body = body;
    if (!expiry.empty()) message.properties = {{"$.exp", expiry}};
    ASSERT_TRUE(hub_.fleet().send(message));
  }
  static std::string seconds_from_now(int seconds) {
    const auto now = std::chrono::system_clock::now().time_since_epoch() + std::chrono::seconds(seconds);
    return to_rfc3339({std::chrono::duration_cast<Duration>(now).count()});
  }
  broker::test::Received get(const std::string& body) {
    auto got = leaf_.expect(PacketType::kPublish);
    EXPECT_EQ(got.payload, body);
    return got;
  }
  // Messages of the fleet that are open, or that were given up.
  std::size_t fleet_holds(const std::string& part) const {
    const std::filesystem::path folder = hub_.folder() + "/fleet/c2d/leaf-1/" + part;
    std::error_code none;
    std::size_t count = 0;
    for (const auto& each : std::filesystem::directory_iterator(folder, none))
      count += each.path().extension() == ".json" ? 1 : 0;
    return count;
  }
  void fleet_settles(std::size_t open, std::size_t rejected) {
    EXPECT_TRUE(eventually([&] { return fleet_holds("in") == open && fleet_holds("rejected") == rejected; }))
        << fleet_holds("in") << " open, " << fleet_holds("rejected") << " rejected\n"
        << hub_.log();
  }

  HubRig hub_{{.hub = "mqtt_plain = \"127.0.0.1:1883\"\n"}};
  MqttClient leaf_;
};

TEST_F(CloudMailTest, OneCopyOverALinkThatWasCut) {
  send("first");
  const auto first = get("first");
  hub_.cut_uplink();
  hub_.restore_uplink();
  send("second");
  const auto second = get("second");  // what came again before it was the copy the client has
  leaf_.expect_silence();
  EXPECT_EQ(fleet_holds("in"), 2u);
  leaf_.ack(PacketType::kPuback, first.id);
  leaf_.ack(PacketType::kPuback, second.id);
  fleet_settles(0, 0);
}

TEST_F(CloudMailTest, WhatIsAcknowledgedWithoutALinkDoesNotComeAgain) {
  send("once");
  const auto once = get("once");
  hub_.cut_uplink();
  leaf_.ack(PacketType::kPuback, once.id);
  leaf_.expect_silence();  // and the acknowledgement was read
  EXPECT_EQ(fleet_holds("in"), 1u);
  hub_.restore_uplink();
  fleet_settles(0, 0);
  leaf_.expect_silence();
}

TEST_F(CloudMailTest, GoesAgainAfterALostConnectionUntilItIsAcknowledged) {
  send("needed");
  auto got = get("needed");
  EXPECT_FALSE(got.duplicate);
  for (int i = 0; i < kTries - 1; ++i) {
    leaf_.close();
    leaf_ = connect();
    got = get("needed");
    EXPECT_TRUE(got.duplicate) << i;
  }
  leaf_.ack(PacketType::kPuback, got.id);
  fleet_settles(0, 0);
}

TEST_F(CloudMailTest, IsGivenUpWhenTenConnectionsEndedOverIt) {
  send("poison");
  for (int i = 0; i < kTries; ++i) {
    get("poison");
    leaf_.close();
    if (i + 1 < kTries) leaf_ = connect();
  }
  fleet_settles(0, 1);
  leaf_ = connect();
  send("healthy");
  leaf_.ack(PacketType::kPuback, get("healthy").id);
  fleet_settles(0, 1);
  EXPECT_TRUE(eventually([&] { return hub_.client_state("leaf-1") == "connected"; }));
}

// The tenth connection ends a message also when it was a hub that was killed that counted the first ones.
TEST_F(CloudMailTest, TheConnectionsAreCountedOverAKilledHub) {
  send("poison");
  for (int i = 0; i < kTries; ++i) {
    get("poison");
    if (i == kTries / 2) {
      // What is accepted after a try is durable after it.
      leaf_.publish("devices/leaf-1/messages/events/", "mark", 1, 1);
      leaf_.expect(PacketType::kPuback);
      hub_.kill();
      hub_.start();
      leaf_ = connect();
      get("poison");
    }
    leaf_.close();
    ASSERT_TRUE(eventually([&] { return hub_.client_state("leaf-1") != "connected"; }));
    if (i + 1 < kTries) leaf_ = connect();
  }
  fleet_settles(0, 1);
}

TEST_F(CloudMailTest, PastItsExpiryItIsRejected) {
  send("stale", seconds_from_now(-60));
  send("fresh", seconds_from_now(3600));
  leaf_.ack(PacketType::kPuback, get("fresh").id);
  fleet_settles(0, 1);
  // It expires while it waits in the session of a device that is away.
  const auto expiry = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  send("short", seconds_from_now(3));
  get("short");
  leaf_.close();
  EXPECT_TRUE(eventually([&] { return hub_.client_state("leaf-1") != "connected"; }));
  EXPECT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > expiry; }));
  hub_.cut_uplink();
  hub_.restore_uplink();  // comes again
  fleet_settles(0, 2);
  leaf_ = connect();
  leaf_.expect_silence();
}

// A session that ends with its connection hands back what it held.
TEST_F(CloudMailTest, ACleanSessionHandsBack) {
  leaf_.disconnect();
  EXPECT_TRUE(leaf_.closes_gracefully());
  leaf_ = connect(true);
  ASSERT_EQ(leaf_.subscribe("devices/leaf-1/messages/devicebound/#", 1), std::string(1, '\1'));
  send("again");
  get("again");
  leaf_.close();
  leaf_ = connect(true);
  ASSERT_EQ(leaf_.subscribe("devices/leaf-1/messages/devicebound/#", 1), std::string(1, '\1'));
  leaf_.ack(PacketType::kPuback, get("again").id);
  fleet_settles(0, 0);
}

}  // namespace
}  // namespace decklog::hub::test
