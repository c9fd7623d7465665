// The hub on a real nats-server: everything that goes both ways, and a link that is cut, goes silent, dies in
// the middle of a drain, or comes back with an empty store. What was accepted arrives.
#include <filesystem>
#include <map>
#include <set>

#include "services/uplink/names.hpp"
#include "services/uplink/nats_connection.hpp"
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

class NatsUplink : public testing::Test {
 protected:
  void start() {
    server_ = std::make_unique<decklog::test::NatsServer>();
    server_->start();
    hub_ =
        std::make_unique<HubRig>(HubSetup{.uplink = "kind = \"nats\"\nurl = \"" + server_->url() + "\"\n"});
    puppet_ = std::make_unique<Puppet>(hub_->folder());
    open_fleet();
    hub_->put_routes(R"("up":"FROM /messages/* INTO $upstream")");
    hub_->start();
    hub_->routes_applied();
    puppet_->start();
    hub_->enrol(kDeviceId, "sensor");
    const auto opened = puppet_->call("open", "sensor", hub_->client(kDeviceId, "sensor"));
    ASSERT_TRUE(opened.ok) << opened.message << hub_->log();
  }
  void TearDown() override {
    if (hub_ && hub_->running()) hub_->conserved();
  }
  // Streams and buckets are made when they are not there.
  void open_fleet() {
    uplink::NatsOptions options;
    options.servers = {server_->url()};
    options.device = "operator";
    auto fleet = fleet::open_nats_fleet(options);
    ASSERT_TRUE(fleet) << describe(fleet.error());
    const auto made = (*fleet)->init({});
    ASSERT_TRUE(made) << describe(made.error());
    hub_->set_fleet(std::move(*fleet));
  }
  void link_is(const std::string& state) {
    EXPECT_TRUE(eventually([&] {
      const bool connected = text(json::parse(hub_->get("/v1/clients")).at("uplink")) == "connected";
      return connected == (state == "up");
    })) << hub_->get("/v1/clients");
  }
  void send(int first, int count) {
    const auto sent = puppet_->call("sendMany", "sensor", {{"first", first}, {"count", count}});
    ASSERT_TRUE(sent.ok) << sent.message;
  }
  std::set<std::string> bodies() {
    std::set<std::string> found;
    for (const auto& record : hub_->telemetry()) found.insert(record.body);
    return found;
  }
  // A message has one id, whatever happened to the link; repeats carry it, so that readers can drop them.
  void ids_are_stable() {
    std::map<std::string, std::string> id_of, body_of;
    for (const auto& record : hub_->telemetry()) {
      EXPECT_EQ(id_of.try_emplace(record.body, record.id).first->second, record.id) << record.body;
      EXPECT_EQ(body_of.try_emplace(record.id, record.body).first->second, record.body) << record.id;
    }
  }
  bool method_answers() {
    return eventually([&] {
      const auto called = hub_->fleet().call({kDeviceId, "sensor"}, "ping", "null", std::chrono::seconds(20));
      return called && called->status == 200 && called->payload == "\"pong\"";
    });
  }
  json::object reported() {
    const auto value = hub_->fleet().get_reported({kDeviceId, "sensor"});
    return value && value->revision != 0 ? json::parse(value->json).as_object() : json::object();
  }
  void cloud_message(const std::string& body) {
    uplink::CloudMessage message;
    message.device = "leaf-1";
    message.body = body;
    ASSERT_TRUE(hub_->fleet().send(message));
  }
  void all_arrive(std::size_t count) {
    EXPECT_TRUE(eventually([&] { return bodies().size() >= count; }))
        << bodies().size() << hub_->get("/v1/queues");
    hub_->drained();
  }

  std::unique_ptr<decklog::test::NatsServer> server_;
  std::unique_ptr<HubRig> hub_;
  std::unique_ptr<Puppet> puppet_;
};

TEST_F(NatsUplink, BothWays) {
  start();
  ASSERT_TRUE(
      puppet_
          ->call(
              "send", "sensor",
              {{"output", "o"}, {"body", "{}"}, {"properties", json::array{json::array{"k =1", "a\r\nb%&"}}}})
          .ok);
  const auto records = hub_->wait_telemetry(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].output, "o");
  EXPECT_THAT(records[0].properties, testing::Contains(testing::Pair("k =1", "a\r\nb%&")));

  ASSERT_TRUE(hub_->fleet().put_desired({kDeviceId, "sensor"}, R"({"interval":5})", std::nullopt));
  const auto twin = puppet_->call("twin", "sensor");
  ASSERT_TRUE(twin.ok) << twin.message;
  EXPECT_EQ(twin.value.at("desired").at("interval"), 5);
  ASSERT_TRUE(puppet_->call("report", "sensor", {{"patch", {{"temperature", 20}}}}).ok);
  EXPECT_TRUE(eventually([&] {
    const auto reported = hub_->fleet().get_reported({kDeviceId, "sensor"});
    return reported && reported->json.find("temperature") != std::string::npos;
  }));
  ASSERT_TRUE(puppet_->call("method", "sensor", {{"name", "ping"}, {"status", 200}, {"payload", "pong"}}).ok);
  EXPECT_TRUE(method_answers());
  hub_->enrol("leaf-1");
  ASSERT_TRUE(puppet_->call("open", "leaf-1", hub_->client("leaf-1")).ok);
  ASSERT_TRUE(puppet_->call("cloudMessages", "leaf-1").ok);
  cloud_message("wake up");
  EXPECT_EQ(puppet_->wait("cloud", "leaf-1").size(), 1u);

  // The same on a server that was away, without anybody subscribing again.
  server_->kill();
  link_is("down");
  ASSERT_TRUE(puppet_->call("report", "sensor", {{"patch", {{"offline", true}}}}).ok);
  server_->start();
  link_is("up");
  open_fleet();
  EXPECT_TRUE(method_answers());
  cloud_message("and again");
  const auto got = puppet_->wait("cloud", "leaf-1", 2);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[1].at("body"), "and again");
  EXPECT_TRUE(eventually([&] { return reported().contains("offline"); }));
  EXPECT_EQ(reported().at("temperature"), 20);
  hub_->drained();
}

// Somebody else writes the same document between the hub's reading and its writing: both changes stay.
TEST_F(NatsUplink, ATwinThatChangedUpstreamMeanwhileIsMerged) {
  start();
  ASSERT_TRUE(puppet_->call("twin", "sensor").ok);
  ASSERT_TRUE(puppet_->call("report", "sensor", {{"patch", {{"mine", 1}, {"both", "hub"}, {"gone", 1}}}}).ok);
  ASSERT_TRUE(eventually([&] { return reported().contains("mine"); }));
  auto document = reported();
  document["theirs"] = 2;
  uplink::NatsOptions options;
  options.servers = {server_->url()};
  options.device = "operator";
  const auto opened = uplink::NatsConnection::open(options, {});
  ASSERT_TRUE(opened.connection) << opened.detail;
  uplink::NatsMessage message;
  message.subject = uplink::twin_subject({kDeviceId, "sensor"}, uplink::TwinPart::kReported);
  message.body = json::serialize(document);
  ASSERT_TRUE(opened.connection->request(message, std::chrono::seconds(10)));
  ASSERT_TRUE(
      puppet_->call("report", "sensor", {{"patch", {{"both", "hub again"}, {"late", 3}, {"gone", nullptr}}}})
          .ok);
  EXPECT_TRUE(eventually([&] { return reported().contains("late"); })) << hub_->log();
  const auto merged = reported();
  EXPECT_EQ(merged.at("mine"), 1);
  EXPECT_EQ(merged.at("theirs"), 2);
  EXPECT_EQ(merged.at("both"), "hub again");
  EXPECT_FALSE(merged.contains("gone"));
}

TEST_F(NatsUplink, CutInTheMiddleOfADrainAndSilent) {
  start();
  server_->kill();
  link_is("down");
  send(0, 1500);
  server_->start();
  link_is("up");
  server_->kill();  // somewhere in the middle
  send(1500, 100);
  server_->start();
  link_is("up");
  server_->stop_responding();  // no FIN, no answer
  send(1600, 400);
  link_is("down");
  server_->respond_again();
  link_is("up");
  open_fleet();
  all_arrive(2000);
  ids_are_stable();
}

TEST_F(NatsUplink, ComesBackWithAnEmptyStore) {
  start();
  send(0, 50);
  hub_->wait_telemetry(50);
  hub_->drained();
  server_->kill();
  link_is("down");
  send(50, 500);
  std::filesystem::remove_all(server_->directory() + "/store");
  server_->start();
  open_fleet();
  all_arrive(500);  // what was confirmed before is the fleet's to keep
  ids_are_stable();
}

}  // namespace
}  // namespace decklog::hub::test
