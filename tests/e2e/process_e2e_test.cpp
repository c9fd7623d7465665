// Modules as processes under the real agent: its death, the device's, deployments that come, fail and go
// back.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/e2e/agent_under_test.hpp"

namespace decklog::e2e {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr const char* kQuick = R"("restart":{"backoffFirstSecs":0.2,"backoffCapSecs":1})";

std::string in_module(const AgentUnderTest& agent, const std::string& module, const std::string& file) {
  return agent.data_dir() + "/modules/" + module + "/data/" + file;
}

std::size_t starts(const AgentUnderTest& agent, const std::string& module) {
  const std::string text = read_file(in_module(agent, module, "starts"));
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

// Notes each of its starts, then stays.
std::string steady(const std::string& name, const std::string& more = R"("restartPolicy":"always")") {
  return process_module(name, "echo $$ >>starts; exec sleep 100000", more);
}

bool has_event(const std::vector<json::object>& events, const std::string& type, const std::string& text) {
  return std::any_of(events.begin(), events.end(), [&](const json::object& event) {
    return event.at("type").as_string() == "io.decklog." + type &&
           json::serialize(event.at("data")).find(text) != std::string::npos;
  });
}

// The same program on the same disk after a reboot, as far as it can tell: another boot id.
std::vector<std::string> rebooted(const AgentUnderTest& agent) {
  write_file(agent.path("boot_id"), "11111111-2222-3333-4444-555555555555\n");
  return {"unshare",
          "-m",
          "/bin/sh",
          "-c",
          "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"",
          "sh",
          agent.path("boot_id")};
}

TEST(AgentDeath, ModulesGoOnAndHowTheyEndedMeanwhileIsKnown) {
  AgentUnderTest agent;
  agent.start();
  const std::string mortal =
      process_module("mortal", "until test -e go; do sleep 0.1; done; exit 7", R"("restartPolicy":"never")");
  const std::string shot = process_module("shot", "exec sleep 100000", R"("restartPolicy":"never")");
  ASSERT_EQ(agent.apply(deployment(steady("steady") + "," + mortal + "," + shot)).status, 0);
  for (const char* name : {"steady", "mortal", "shot"})
    ASSERT_TRUE(agent.becomes(name, "running")) << agent.describe();
  ASSERT_TRUE(eventually([&] { return starts(agent, "steady") == 1; }));
  const auto before = agent.module("steady").at("runtimeId");
  const std::string shot_id = agent.module("shot").at("runtimeId").as_string().c_str();

  agent.kill();
  ASSERT_EQ(::kill(std::stoi(shot_id), SIGKILL), 0);
  write_file(in_module(agent, "mortal", "go"), "");
  const auto phase = [&](const std::string& name) {
    return json::parse(read_file(agent.data_dir() + "/modules/" + name + "/state.json")).at("phase");
  };
  const auto running = phase("steady");
  ASSERT_TRUE(eventually([&] { return phase("mortal") != running && phase("shot") != running; }));

  agent.start();
  ASSERT_TRUE(eventually([&] {
    return agent.module("mortal").at("exitCode") == 7 && agent.state("shot") != "running" &&
           agent.state("steady") == "running";
  })) << agent.describe();
  EXPECT_EQ(agent.module("steady").at("runtimeId"), before);
  EXPECT_NE(json::serialize(agent.module("shot").at("description")).find("signal 9"), std::string::npos)
      << agent.describe();
  EXPECT_TRUE(has_event(agent.history({"mortal"}), "module.observed.v1", R"("exit_code":7)"));
  ASSERT_TRUE(eventually([&] {
    const auto reported = agent.reported();
    return reported.is_object() && reported.at("modules").at("mortal").at("exitCode") == 7;
  }));
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  EXPECT_EQ(starts(agent, "steady"), 1u);
  expect_sound_log(agent);
}

TEST(AgentDeath, AShotModuleIsStartedAgainAndWhySaysSo) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(
      agent.apply(deployment(steady("steady", std::string(R"("restartPolicy":"on-failure",)") + kQuick)))
          .status,
      0);
  ASSERT_TRUE(agent.becomes("steady", "running")) << agent.describe();
  const std::string first = agent.module("steady").at("runtimeId").as_string().c_str();
  ASSERT_EQ(::kill(std::stoi(first), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] {
    const auto now = agent.module("steady");
    return now.at("state") == "running" && now.at("runtimeId").as_string() != first;
  })) << agent.describe();
  const Outcome why = agent.cli({"why", "steady"});
  EXPECT_EQ(why.status, 0);
  EXPECT_NE(why.out.find("signal 9"), std::string::npos) << why.out;
  EXPECT_NE(why.out.find("its policy wants it back"), std::string::npos) << why.out;
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

TEST(ColdBoot, WithoutFleetEveryModuleIsStartedFromTheLogAlone) {
  AgentUnderTest agent;
  agent.start();
  const std::string later = steady("later", R"("startupOrder":2)");
  const std::string off = steady("off", R"("status":"stopped")");
  agent.put_desired(deployment(steady("first", R"("startupOrder":1)") + "," + later + "," + off));
  ASSERT_TRUE(agent.becomes("first", "running") && agent.becomes("later", "running")) << agent.describe();
  ASSERT_TRUE(eventually([&] { return starts(agent, "first") == 1 && starts(agent, "later") == 1; }));
  // The power goes: nobody ends in order, and there is no fleet when it comes back.
  agent.kill();
  for (const char* name : {"first", "later"}) {
    const auto record = json::parse(read_file(agent.data_dir() + "/modules/" + name + "/state.json"));
    const auto keeper = record.at("keeper").at("pid").to_number<pid_t>();
    const auto module = record.at("module").at("pid").to_number<pid_t>();
    ::kill(keeper, SIGKILL);
    ::kill(-module, SIGKILL);
  }
  write_file(agent.path("fleet/OFFLINE"), "");
  agent.start(rebooted(agent));
  ASSERT_TRUE(eventually([&] {
    return agent.state("first") == "running" && agent.state("later") == "running" &&
           starts(agent, "later") == 2;
  })) << agent.describe();
  EXPECT_EQ(agent.module("first").at("restarts"), 0) << "an end with the device is no crash";
  EXPECT_EQ(starts(agent, "off"), 0u);
  EXPECT_NE(agent.ask("/v1/status").at("uplink"), "connected");
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

TEST(ThreeModules, TheExampleRunsCrashesFallsIllAndRecovers) {
  AgentUnderTest agent;
  agent.start();
  const std::string file = DECKLOG_SOURCE_DIR "/examples/three-modules.json";
  const Outcome planned = agent.cli({"plan", file});
  EXPECT_EQ(planned.status, 0) << planned.text();
  EXPECT_NE(planned.out.find("create crashy: not there"), std::string::npos) << planned.out;
  EXPECT_TRUE(agent.ask("/v1/modules").at("modules").as_array().empty()) << "a plan changes nothing";
  ASSERT_EQ(agent.cli({"apply", file}).status, 0);
  ASSERT_TRUE(agent.becomes("steady", "running")) << agent.describe();
  ASSERT_TRUE(agent.becomes("moody", "unhealthy")) << agent.describe();
  ASSERT_TRUE(agent.becomes("moody", "running")) << agent.describe();
  ASSERT_TRUE(agent.becomes("crashy", "backing-off")) << agent.describe();
  const Outcome why = agent.cli({"why", "crashy"});
  EXPECT_NE(why.out.find("exit code 3"), std::string::npos) << why.out;
  EXPECT_NE(why.out.find("desired document"), std::string::npos) << why.out;
  const Outcome list = agent.cli({"list"});
  for (const char* text : {"steady", "crashy", "moody"})
    EXPECT_NE(list.out.find(text), std::string::npos) << list.out;
  const Outcome logs = agent.cli({"logs", "crashy"});
  EXPECT_NE(logs.out.find("giving up"), std::string::npos) << logs.text();
  const Outcome again = agent.cli({"plan", file});
  EXPECT_NE(again.out.find("nothing to change"), std::string::npos) << again.out;
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

TEST(Update, ChangesInPlaceKeepTheProcessAndOthersReplaceIt) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(steady("steady"))).status, 0);
  ASSERT_TRUE(agent.becomes("steady", "running")) << agent.describe();
  const auto first = agent.module("steady").at("runtimeId");
  const std::string adjusted = deployment(
      steady("steady", R"("restartPolicy":"never","version":"2","startupOrder":7,)"
                       R"("probes":{"liveness":{"exec":{"command":["/bin/true"]},"intervalSecs":0.3}})"));
  EXPECT_NE(agent.cli({"plan", "-"}, adjusted).out.find("adjust steady"), std::string::npos);
  ASSERT_EQ(agent.apply(adjusted).status, 0);
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "applied"; })) << agent.describe();
  EXPECT_EQ(agent.module("steady").at("runtimeId"), first);
  // The order of env members is nothing a process could see; a value is.
  const std::string env = R"("env":{"A":{"value":"1"},"B":{"value":"2"}})",
                    turned = R"("env":{"B":{"value":"2"},"A":{"value":"1"}})";
  ASSERT_EQ(agent.apply(deployment(steady("steady", env))).status, 0);
  ASSERT_TRUE(eventually([&] {
    const auto now = agent.module("steady");
    return now.at("state") == "running" && now.at("runtimeId") != first &&
           agent.deployment_state() == "applied";
  })) << agent.describe();
  const auto second = agent.module("steady").at("runtimeId");
  EXPECT_NE(agent.cli({"plan", "-"}, deployment(steady("steady", turned))).out.find("nothing to change"),
            std::string::npos);
  ASSERT_EQ(agent.apply(deployment(steady("steady", turned))).status, 0);
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "applied"; }));
  EXPECT_EQ(agent.module("steady").at("runtimeId"), second);
  ASSERT_EQ(agent.apply(deployment("")).status, 0);
  ASSERT_TRUE(agent.becomes("steady", "")) << agent.describe();
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  EXPECT_EQ(starts(agent, "steady"), 0u) << "what a removed module left is gone";
  expect_sound_log(agent);
}

// ---- rollback ---------------------------------------------------------------------------------------

constexpr const char* kRollback = R"("rollback":{"onFailure":true,"minHealthySecs":0.5,"deadlineSecs":6})";
constexpr const char* kNoRollback = R"("rollback":{"onFailure":false,"minHealthySecs":0.5,"deadlineSecs":6})";

std::string bad() {
  return process_module("worker", "echo bad >>starts; exit 9",
                        std::string(R"("restartPolicy":"always",)") + kQuick);
}

TEST(Rollback, GoesBackToTheLastGoodOneAndDoesNotTryTheBadOneAgain) {
  AgentUnderTest agent;
  agent.start();
  agent.put_desired(deployment(steady("worker"), kRollback));
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "applied"; })) << agent.describe();
  agent.put_desired(deployment(bad(), kRollback));
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "rolled-back"; })) << agent.describe();
  ASSERT_TRUE(agent.becomes("worker", "running")) << agent.describe();
  ASSERT_TRUE(eventually([&] {
    const auto reported = agent.reported();
    return reported.at("deployment").at("state") == "rolled-back" &&
           reported.at("modules").at("worker").at("runtimeStatus") == "running";
  }));
  EXPECT_EQ(agent.reported().at("lastDesiredStatus").at("code"), 500) << json::serialize(agent.reported());
  const auto good = agent.module("worker").at("runtimeId");
  // Not after a restart of ours, not when somebody says the same again.
  agent.kill();
  agent.start();
  ASSERT_TRUE(eventually([&] { return agent.ask("/v1/status").at("uplink") == "connected"; }));
  const Outcome again = agent.apply(deployment(bad(), kRollback));
  EXPECT_EQ(again.status, 3);
  EXPECT_NE(again.err.find("failed before"), std::string::npos) << again.text();
  EXPECT_TRUE(agent.becomes("worker", "running"));
  EXPECT_EQ(agent.module("worker").at("runtimeId"), good);
  // A changed document is a new one.
  agent.put_desired(deployment(steady("worker") + "," + steady("second"), kRollback));
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "applied"; })) << agent.describe();
  EXPECT_EQ(agent.state("second"), "running");
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

TEST(Rollback, NotAskedForMeansFailedAndGoingOnTrying) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(steady("worker"), kNoRollback)).status, 0);
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "applied"; })) << agent.describe();
  ASSERT_EQ(agent.apply(deployment(bad(), kNoRollback)).status, 0);
  ASSERT_TRUE(eventually([&] { return agent.deployment_state() == "failed"; })) << agent.describe();
  const auto tries = agent.module("worker").at("restarts").to_number<int>();
  EXPECT_TRUE(eventually([&] { return agent.module("worker").at("restarts").to_number<int>() > tries; }));
  ASSERT_TRUE(eventually([&] { return agent.reported().at("lastDesiredStatus").at("code") == 500; }));
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

}  // namespace
}  // namespace decklog::e2e
