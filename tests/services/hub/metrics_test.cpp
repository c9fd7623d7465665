// The hub's page for Prometheus after real traffic: numbers, labels, the law of conservation, promtool.
#include <fstream>
#include <set>
#include <sstream>

#include "observability/exposition.hpp"
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

class Metrics : public HubTest {
 protected:
  // Sum of the series of a family that have all these texts in their line; -1 = there is none.
  double value(const std::string& name, const std::vector<std::string>& labels = {}) {
    std::istringstream lines(page_ = hub_.get("/metrics"));
    double sum = -1;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(name + "{")) continue;
      bool all = true;
      for (const auto& label : labels) all = all && line.find(label) != std::string::npos;
      if (all) sum = std::max(sum, 0.0) + std::stod(line.substr(line.rfind(' ')));
    }
    return sum;
  }
  bool becomes(double wanted, const std::string& name, const std::vector<std::string>& labels) {
    return eventually([&] { return value(name, labels) == wanted; });
  }
  // Everything the hub does, once or twice.
  void live_a_little() {
    const auto filter = open(kDeviceId, "filter");
    do_("inputs", filter);
    do_("method", filter, {{"name", "ping"}, {"status", 200}, {"payload", "pong"}});
    const auto sensor = open(kDeviceId, "sensor");
    do_("twin", sensor);
    do_("report", sensor, {{"patch", {{"ok", true}}}});
    for (const char* body : {"12", "1234", "123456"}) do_("send", sensor, {{"output", "o"}, {"body", body}});
    const auto leaf = open("leaf-1");
    do_("send", leaf, {{"body", "nobody asked"}});
    EXPECT_TRUE(
        puppet_
            .call("invoke", sensor,
                  {{"device", kDeviceId}, {"module", "filter"}, {"name", "ping"}, {"connectTimeout", 20}})
            .ok);
    EXPECT_FALSE(puppet_.call("mqtt", "stranger", hub_.plain_client("nobody")).ok);
    hub_.enrol("leaf-2");
    ASSERT_TRUE(puppet_.call("mqtt", "plain", hub_.plain_client("leaf-2")).ok);
    (void)puppet_.call("subscribe", "plain", {{"filter", "elsewhere/#"}, {"qos", 1}});
    (void)puppet_.call("publish", "plain", {{"topic", "elsewhere/x"}, {"body", "x"}, {"qos", 1}});
    hub_.cut_uplink();
    hub_.restore_uplink();
    hub_.drained();
  }
  std::string page_;
};

constexpr const char* kRoutes =
    R"~("in":"FROM /messages/modules/sensor/outputs/o INTO BrokeredEndpoint(\"/modules/filter/inputs/in1\")",
       "up":"FROM /messages/modules/* INTO $upstream")~";

TEST_F(Metrics, ThePageIsTrueWholeAndPassesPromtool) {
  start(kRoutes);
  puppet_.start();
  live_a_little();
  const std::string from = "from=\"edge-1/sensor\"";
  EXPECT_TRUE(
      becomes(3, "edgehub_messages_sent_total",
              {from, "to=\"filter\"", "from_route_output=\"o\"", "to_route_input=\"in1\"", "priority=\"9\""}))
      << page_;
  EXPECT_EQ(value("edgehub_messages_sent_total", {from, "to=\"upstream\"", "to_route_input=\"\""}), 3);
  EXPECT_EQ(value("edgehub_messages_received_total", {"id=\"edge-1/sensor\"", "route_output=\"o\""}), 3);
  EXPECT_EQ(value("edgehub_messages_dropped_total", {"reason=\"no_route\"", "from=\"leaf-1\""}), 1);
  EXPECT_EQ(value("edgehub_message_size_bytes_sum", {"id=\"edge-1/sensor\""}), 12);
  EXPECT_EQ(value("edgehub_message_send_duration_seconds_count", {from, "to=\"filter\""}), 3);
  EXPECT_EQ(value("edgehub_message_process_duration_seconds_count", {from, "to=\"upstream\""}), 3);
  EXPECT_EQ(value("edgehub_direct_method_duration_seconds_count", {from, "to=\"edge-1/filter\""}), 1);
  EXPECT_EQ(value("edgehub_direct_methods_total", {from, "to=\"edge-1/filter\""}), 1);
  EXPECT_GE(value("edgehub_gettwin_duration_seconds_count", {"id=\"edge-1/sensor\""}), 1);
  EXPECT_GE(value("edgehub_reported_properties_update_duration_seconds_count", {"target=\"edge_hub\""}), 1);
  EXPECT_EQ(value("edgehub_client_connect_failed_total", {"id=\"\""}), 1) << page_;
  EXPECT_EQ(value("edgehub_offline_count_total", {"id=\"edge-1/$edgeHub\""}), 1);
  EXPECT_EQ(value("edgehub_offline_duration_seconds_count"), 1);
  EXPECT_EQ(value("decklog_hub_sessions", {"state=\"connected\""}), 4);
  EXPECT_EQ(value("decklog_hub_sessions", {"state=\"taken-over\""}), 0);
  EXPECT_EQ(value("decklog_hub_accept_seconds_count"), 3) << "what no route wants is not stored";
  EXPECT_GE(value("decklog_hub_commit_seconds_count"), 1);
  EXPECT_EQ(value("decklog_hub_identity_age_seconds"), 0);
  EXPECT_EQ(value("decklog_hub_subscribes_refused_total"), 1);
  EXPECT_EQ(value("decklog_hub_publishes_refused_total"), 1);
  for (const std::string route : {"in", "up", "(no route)"}) {
    const std::string label = "route=\"" + route + "\"";
    const auto ended = [&](const char* how) {
      return value("decklog_hub_route_messages_total", {label, std::string("outcome=\"") + how + "\""});
    };
    EXPECT_EQ(ended("accepted"), ended("delivered") + ended("expired") + ended("dropped") +
                                     ended("dead_lettered") + value("decklog_hub_route_waiting", {label}))
        << route << page_;
    EXPECT_EQ(value("decklog_hub_route_conservation_difference", {label}), 0);
  }
  EXPECT_EQ(value("decklog_hub_route_losses_total", {"reason=\"no_route\""}), 1);

  std::ofstream(hub_.folder() + "/page") << page_;
  fixture::ChildProcess promtool;
  ASSERT_TRUE(promtool.start({"sh", "-c", "promtool check metrics < \"$1\"", "sh", hub_.folder() + "/page"},
                             hub_.folder() + "/promtool.log"));
  const int checked = promtool.wait();
  std::ostringstream said;
  said << std::ifstream(hub_.folder() + "/promtool.log").rdbuf();
  EXPECT_TRUE(checked == 0 || checked == 3) << said.str();  // 3: style, such as Azure's names
  // The catalogue promises nothing that is not there.
  for (const auto& info : observability::metric_catalogue()) {
    if (info.name.starts_with("edgeAgent_") || info.name == "edgehub_messages_unack_total") continue;
    const bool hubs = info.name.starts_with("edgehub_") || info.name.starts_with("decklog_hub_") ||
                      info.name.starts_with("decklog_broker_");
    EXPECT_TRUE(!hubs || page_.find("# TYPE " + std::string(info.name) + " ") != std::string::npos)
        << info.name;
  }
}

TEST_F(Metrics, RatesAndLossesOfWhatWaitedTooLong) {
  start(R"("up":{"route":"FROM /messages/* INTO $upstream","priority":3,"timeToLiveSecs":1})");
  puppet_.start();
  const auto leaf = open("leaf-1");
  hub_.cut_uplink();
  do_("send", leaf, {{"body", "late"}});
  EXPECT_TRUE(becomes(1, "edgehub_messages_dropped_total",
                      {"reason=\"ttl_expiry\"", "from=\"leaf-1\"", "from_route_output=\"\""}))
      << page_;
  EXPECT_EQ(value("decklog_hub_route_messages_total", {"route=\"up\"", "outcome=\"expired\""}), 1);
  hub_.restore_uplink();
  EXPECT_TRUE(eventually([&] {
    do_("send", leaf, {{"body", "in time"}});
    return value("decklog_hub_drain_rate", {"$upstream"}) > 0;
  })) << page_;
}

}  // namespace
}  // namespace decklog::hub::test
