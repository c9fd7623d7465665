// Who gets in, who stays in: credentials, token renewal, takeover, restarts of the hub, WebSocket, the
// agent's workload API. All with the official SDK.
#include <cstdlib>
#include <set>

#include "services/iothub/credentials.hpp"
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

const std::string kToFilter =
    R"~("all":"FROM /messages/modules/sensor/outputs/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in1\")")~";

class Session : public HubTest {
 protected:
  Puppet::Answer try_open(const std::string& device, const std::string& module, const std::string& key) {
    return puppet_.call("open", device + "/" + module, hub_.client(device, module, key));
  }
};

TEST_F(Session, OnlyWhoHasTheKeyGetsIn) {
  start();
  puppet_.start();
  hub_.enrol("leaf-1");
  hub_.enrol(kDeviceId, "sensor");
  hub_.enrol("leaf-off", "", kKey, "disabled");
  EXPECT_EQ(try_open("leaf-1", "", kOtherKey).error, "UnauthorizedError");
  EXPECT_EQ(try_open(kDeviceId, "sensor", kOtherKey).error, "UnauthorizedError");
  EXPECT_EQ(try_open("leaf-off", "", kKey).error, "UnauthorizedError");
  EXPECT_EQ(try_open("nobody", "", kKey).error, "UnauthorizedError");
  EXPECT_TRUE(try_open("leaf-1", "", kKey).ok) << hub_.log();
  EXPECT_TRUE(try_open(kDeviceId, "sensor", kKey).ok) << hub_.log();
}

TEST_F(Session, ADisabledIdentityIsOutAtOnceUntilItIsEnabledAgain) {
  start();
  puppet_.start();
  const auto leaf = open("leaf-1");
  do_("cloudMessages", leaf);
  hub_.enrol("leaf-1", "", kKey, "disabled");
  EXPECT_TRUE(eventually([&] { return hub_.client_state("leaf-1") != "connected"; }))
      << hub_.get("/v1/clients");
  EXPECT_EQ(try_open("leaf-1", "", kKey).error, "UnauthorizedError");
  hub_.enrol("leaf-1");
  EXPECT_TRUE(eventually([&] { return try_open("leaf-1", "", kKey).ok; })) << hub_.log();
}

TEST_F(Session, ARekeyedIdentityIsOutAtOnceAndComesBackWithItsNewKeyToItsSession) {
  start();
  puppet_.start();
  const auto leaf = open("leaf-1");
  do_("cloudMessages", leaf);
  hub_.enrol("leaf-1", "", kOtherKey);
  EXPECT_TRUE(eventually([&] { return hub_.client_state("leaf-1") != "connected"; }))
      << hub_.get("/v1/clients");
  EXPECT_EQ(try_open("leaf-1", "", kKey).error, "UnauthorizedError");
  const auto opened = try_open("leaf-1", "", kOtherKey);
  ASSERT_TRUE(opened.ok) << opened.message;
  do_("cloudMessages", "leaf-1/");
  uplink::CloudMessage message;
  message.device = "leaf-1";
  message.body = "new key";
  ASSERT_TRUE(hub_.fleet().send(message));
  EXPECT_EQ(puppet_.wait("cloud", "leaf-1/").size(), 1u);
}

// A module may come with its device's key: that one's change is its own.
TEST_F(Session, ADevicesNewKeyEndsItsModulesThatCameWithTheOld) {
  start();
  puppet_.start();
  hub_.enrol(kDeviceId);
  hub_.enrol(kDeviceId, "sensor", kOtherKey);
  const auto token = iothub::make_sas_token(kHost + "/devices/" + kDeviceId, kKey, 4'000'000'000);
  const auto arguments = hub_.plain_client(kDeviceId, "sensor", {{"password", token}});
  ASSERT_TRUE(eventually([&] { return puppet_.call("mqtt", "sensor", arguments).ok; })) << hub_.log();
  const auto closed = puppet_.events("closed", "sensor").size();
  hub_.enrol(kDeviceId, "", kOtherKey);
  EXPECT_EQ(puppet_.wait("closed", "sensor", closed + 1).size(), closed + 1) << hub_.get("/v1/clients");
  EXPECT_FALSE(puppet_.call("mqtt", "sensor", arguments).ok);
}

TEST_F(Session, AModuleTakesItsCredentialsFromTheAgent) {
  Puppet module(hub_.folder());
  hub_.put_routes(R"("up":"FROM /messages/* INTO $upstream")");
  json::array command;
  for (const auto& word : module.command()) command.emplace_back(word);
  const json::object process{{"type", "process"},
                             {"status", "running"},
                             {"restartPolicy", "never"},
                             {"settings", json::object{{"command", command}}},
                             {"env", json::object{{"NODE_PATH", json::object{{"value", module.node_path()}}},
                                                  {"PATH", json::object{{"value", ::getenv("PATH")}}}}}};
  const json::object document{{"schemaVersion", "1.1"}, {"modules", json::object{{"sensor-1", process}}}};
  ASSERT_TRUE(hub_.fleet().put_desired({kDeviceId, "$edgeAgent"}, json::serialize(document), std::nullopt));
  hub_.start_agent();
  module.accept();  // the agent has started it
  hub_.start();
  hub_.routes_applied();
  const auto opened = module.call("open", "me", {{"kind", "environment"}});
  ASSERT_TRUE(opened.ok) << opened.error << ": " << opened.message << hub_.log();
  ASSERT_TRUE(module.call("send", "me", {{"output", "o"}, {"body", "from the environment"}}).ok);
  const auto records = hub_.wait_telemetry(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].module, "sensor-1");
  // The key that was made for it here is nobody else's: the fleet never saw it.
  EXPECT_FALSE(module.call("open", "other", hub_.client(kDeviceId, "sensor-1")).ok);
}

// The SDK says DISCONNECT, comes back with a new token and never subscribes again.
TEST_F(Session, TokenRenewalKeepsEverySubscription) {
  start(kToFilter);
  puppet_.start();
  const auto filter = open(kDeviceId, "filter");
  do_("inputs", filter);
  do_("method", filter, {{"name", "ping"}, {"status", 200}, {"payload", "pong"}});
  do_("twin", filter);
  do_("watchDesired", filter);
  ASSERT_TRUE(
      eventually([&] { return hub_.get("/v1/clients").find("properties/desired") != std::string::npos; }));
  // The plain client plays the renewed SDK: same id, no SUBSCRIBE.
  do_("close", filter);
  const auto renewed = puppet_.call("mqtt", "renewed", hub_.plain_client(kDeviceId, "filter"));
  ASSERT_TRUE(renewed.ok) << renewed.message;
  EXPECT_EQ(renewed.value.at("sessionPresent"), true);
  const auto sensor = open(kDeviceId, "sensor");
  do_("send", sensor, {{"output", "o"}, {"body", "1"}});
  EXPECT_EQ(puppet_.wait("publish", "renewed", 1)
                .at(0)
                .at("topic")
                .as_string()
                .find("devices/edge-1/modules/filter/inputs/in1/"),
            0u);
  ASSERT_TRUE(hub_.fleet().put_desired({kDeviceId, "filter"}, R"({"after":"renewal"})", std::nullopt));
  const auto got = puppet_.wait("publish", "renewed", 2);
  ASSERT_GE(got.size(), 2u);
  EXPECT_EQ(got[1].at("topic").as_string().find("$iothub/twin/PATCH/properties/desired/?$version="), 0u);
}

TEST_F(Session, TheSdkRenewsItsTokenWhileMessagesFlow) {
  start(kToFilter);
  puppet_.start();
  const json::object soon{
      {"options", json::object{{"tokenRenewal", json::object{{"tokenValidTimeInSeconds", 8},
                                                             {"tokenRenewalMarginInSeconds", 5}}}}}};
  hub_.enrol(kDeviceId, "filter");
  auto arguments = hub_.client(kDeviceId, "filter");
  arguments["options"] = soon.at("options");
  const auto opened = puppet_.call("open", "filter", arguments);
  ASSERT_TRUE(opened.ok) << opened.message;
  do_("inputs", "filter");
  const auto sensor = open(kDeviceId, "sensor");
  const auto connects = [&] {
    const std::string text = hub_.get("/metrics");
    const auto at = text.find("\nedgehub_client_connect_success_total");
    return at == std::string::npos ? 0.0 : std::stod(text.substr(text.find(' ', at + 1)));
  };
  int sent = 0;
  ASSERT_TRUE(eventually([&] {
    do_("send", sensor, {{"output", "o"}, {"body", std::to_string(sent++)}});
    return connects() >= 4;  // two opened, one of them twice renewed
  })) << hub_.get("/metrics");
  EXPECT_EQ(puppet_.wait("input", "filter", static_cast<std::size_t>(sent)).size(),
            static_cast<std::size_t>(sent));
  EXPECT_TRUE(puppet_.events("disconnect", "filter").empty());
  hub_.drained();
}

TEST_F(Session, ANewConnectionTakesTheOldOnesPlace) {
  start();
  puppet_.start();
  hub_.enrol(kDeviceId, "sensor");
  ASSERT_TRUE(puppet_.call("mqtt", "old", hub_.plain_client(kDeviceId, "sensor")).ok);
  const auto sensor = open(kDeviceId, "sensor");
  EXPECT_EQ(puppet_.wait("closed", "old").size(), 1u);
  do_("send", sensor, {{"body", "mine now"}});
  EXPECT_EQ(hub_.wait_telemetry(1).at(0).body, "mine now");
}

TEST_F(Session, SigkillLosesNoSubscriptionAndNothingAcknowledged) {
  start(kToFilter + R"(,"up":"FROM /messages/* INTO $upstream")");
  puppet_.start();
  const auto filter = open(kDeviceId, "filter", {{"reopen", true}});
  do_("inputs", filter);
  const auto sensor = open(kDeviceId, "sensor", {{"reopen", true}});
  do_("sendMany", sensor, {{"output", "o"}, {"first", 0}, {"count", 100}});
  const auto flight = puppet_.begin("sendMany", sensor, {{"output", "o"}, {"first", 100}, {"count", 400}});
  hub_.kill();
  hub_.start();
  EXPECT_TRUE(puppet_.answer(flight).ok) << hub_.log();  // the SDK sent again what had no answer
  std::set<std::string> bodies;
  EXPECT_TRUE(eventually([&] {
    for (const auto& each : puppet_.events("input", filter)) bodies.emplace(each.at("body").as_string());
    return bodies.size() == 500;
  })) << bodies.size();
  EXPECT_TRUE(eventually([&] {
    bodies.clear();
    for (const auto& record : hub_.telemetry()) bodies.insert(record.body);
    return bodies.size() == 500;
  })) << bodies.size();
  hub_.drained();
}

TEST_F(Session, OverWebSocket) {
  start(kToFilter);
  puppet_.start();
  const auto filter = open(kDeviceId, "filter", {{"webSocket", true}});
  do_("inputs", filter);
  const auto sensor = open(kDeviceId, "sensor", {{"webSocket", true}});
  const std::string large(100'000, 'w');
  do_("send", sensor, {{"output", "o"}, {"body", large}});
  do_("send", sensor, {{"output", "o"}, {"body", "small"}});
  const auto got = puppet_.wait("input", filter, 2);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(text(got[0].at("body")), large);
  EXPECT_EQ(got[1].at("body"), "small");
  do_("close", sensor);
  hub_.drained();
}

}  // namespace
}  // namespace decklog::hub::test
