// Direct methods: from the fleet, and from module to module over HTTPS as the SDK insists on it (port 443).
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

class Method : public HubTest {
 protected:
  void answers(const std::string& as, const std::string& name, int status, json::value payload) {
    do_("method", as, {{"name", name}, {"status", status}, {"payload", std::move(payload)}});
  }
};

TEST_F(Method, TheFleetCallsAModuleAndALeaf) {
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  answers(sensor, "reboot", 202, {{"when", "now"}});
  const auto leaf = open("leaf-1");
  answers(leaf, "blink", 200, nullptr);

  uplink::MethodAnswer answer;
  ASSERT_TRUE(eventually([&] {  // until it is subscribed
    const auto called =
        hub_.fleet().call({kDeviceId, "sensor"}, "reboot", R"({"delay":3})", std::chrono::seconds(20));
    if (called) answer = *called;
    return called && called->status == 202;
  }));
  EXPECT_EQ(json::parse(answer.payload), json::parse(R"({"when":"now"})"));
  const auto calls = puppet_.wait("method", sensor);
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls.back().at("payload"), json::parse(R"({"delay":3})"));
  const auto blinked = hub_.fleet().call({"leaf-1", ""}, "blink", "", std::chrono::seconds(20));
  ASSERT_TRUE(blinked) << describe(blinked.error());
  EXPECT_EQ(blinked->status, 200);
  EXPECT_EQ(blinked->payload, "null");
}

TEST_F(Method, OneModuleInvokesAnother) {
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  answers(sensor, "measure", 200, {{"value", 42}});
  answers(sensor, "fails", 500, "no");
  const auto leaf = open("leaf-1");
  answers(leaf, "blink", 204, nullptr);
  const auto caller = open(kDeviceId, "caller");
  const json::object to_sensor{{"device", kDeviceId}, {"module", "sensor"}, {"connectTimeout", 20}};
  auto call = to_sensor;
  call["name"] = "measure";
  call["payload"] = json::object{{"odd", "\xE2\x82\xAC/%41"}};
  auto answer = puppet_.call("invoke", caller, call);
  ASSERT_TRUE(answer.ok) << answer.error << ": " << answer.message << hub_.log();
  EXPECT_EQ(answer.value.at("status"), 200);
  EXPECT_EQ(answer.value.at("payload"), json::parse(R"({"value":42})"));
  EXPECT_EQ(puppet_.wait("method", sensor).back().at("payload"), call.at("payload"));

  call["name"] = "fails";
  answer = puppet_.call("invoke", caller, call);
  ASSERT_TRUE(answer.ok) << answer.error;
  EXPECT_EQ(answer.value.at("status"), 500);

  answer = puppet_.call("invoke", caller, {{"device", "leaf-1"}, {"name", "blink"}, {"connectTimeout", 20}});
  ASSERT_TRUE(answer.ok) << answer.error;
  EXPECT_EQ(answer.value.at("status"), 204);
}

TEST_F(Method, AnAnswerWithoutAWholeStatusEndsTheCallAndNotTheConnection) {
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  do_("method", sensor, {{"name", "half"}, {"status", 200.5}, {"payload", "x"}});
  answers(sensor, "whole", 200, "y");
  const auto call = [&](const std::string& name) {
    return hub_.fleet().call({kDeviceId, "sensor"}, name, "null", std::chrono::seconds(20));
  };
  ASSERT_TRUE(eventually([&] {
    const auto whole = call("whole");
    return whole && whole->status == 200;
  }));
  const auto half = call("half");
  ASSERT_TRUE(half) << describe(half.error());
  EXPECT_EQ(half->status, 502) << half->payload;
  EXPECT_EQ(hub_.client_state(std::string(kDeviceId) + "/sensor"), "connected");
}

TEST_F(Method, WhoIsNotThereOrDoesNotAnswerEndsTheCallInTime) {
  start();
  puppet_.start();
  const auto sensor = open(kDeviceId, "sensor");
  do_("method", sensor, {{"name", "silent"}, {"status", 0}});
  const auto caller = open(kDeviceId, "caller");
  const auto absent = puppet_.call(
      "invoke", caller, {{"device", kDeviceId}, {"module", "nobody"}, {"name", "x"}, {"connectTimeout", 1}});
  EXPECT_FALSE(absent.ok);
  const auto silent = puppet_.call("invoke", caller,
                                   {{"device", kDeviceId},
                                    {"module", "sensor"},
                                    {"name", "silent"},
                                    {"connectTimeout", 20},
                                    {"responseTimeout", 5}});
  EXPECT_FALSE(silent.ok);
  EXPECT_EQ(silent.error, "GatewayTimeoutError") << silent.message;
  const auto gone = hub_.fleet().call({kDeviceId, "nobody"}, "x", "null", std::chrono::seconds(5));
  EXPECT_TRUE(!gone || gone->status >= 400);
}

}  // namespace
}  // namespace decklog::hub::test
