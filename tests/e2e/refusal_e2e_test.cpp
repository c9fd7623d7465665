// Documents and configurations that are wrong or hostile: refused by code and place, and nothing else
// happens.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/e2e/agent_under_test.hpp"

namespace decklog::e2e {
namespace {

namespace json = boost::json;

struct Bad {
  const char* name;
  std::string document;
  int code;
  const char* where;  // the place its message names
  const char* what;   // and a word of the reason
};

std::string docker_module(const std::string& settings, const std::string& more = {}) {
  return R"({"schemaVersion":"1.1","modules":{"m":{"type":"docker",)" + more + R"("settings":)" + settings +
         "}}}";
}

std::string nested(int depth) {
  std::string text = R"({"schemaVersion":"1.1","modules":)";
  for (int i = 0; i < depth; ++i) text += R"({"a":)";
  return text + "1" + std::string(static_cast<std::size_t>(depth), '}') + "}";
}

constexpr const char* kSleep = R"("type":"process","settings":{"command":["/bin/sleep","9"]})";

std::string named(const std::string& name) {
  return R"({"schemaVersion":"1.1","modules":{")" + name + R"(":{)" + kSleep + "}}}";
}

std::vector<Bad> bad_shapes() {
  return {
      {"empty text", " \n", 417, "$", "empty"},
      {"empty object", "{}", 417, "$", "empty"},
      {"not JSON", "{\"schemaVersion\": 1.1,", 400, "$", "line 1"},
      {"two values", R"({"schemaVersion":"1.1"} {})", 400, "$", "follows"},
      {"an array", "[]", 400, "$", "object"},
      {"bad UTF-8", std::string("{\"schemaVersion\":\"1.1\",\"modules\":{\"\xff\xfe\":1}}"), 400, "$",
       "JSON"},
      {"no version", R"({"modules":{}})", 400, "$", "schemaVersion"},
      {"version 2.0", R"({"schemaVersion":"2.0","modules":{}})", 412, "$.schemaVersion", "2.0"},
      {"version 1.2", R"({"schemaVersion":"1.2","modules":{}})", 412, "$.schemaVersion", "1.2"},
      {"version a number", R"({"schemaVersion":1.1,"modules":{}})", 400, "$.schemaVersion", "string"},
      {"modules a list", R"({"schemaVersion":"1.1","modules":[]})", 400, "$.modules", "object"},
      {"unknown member", R"({"schemaVersion":"1.1","modules":{},"moduls":{}})", 400, "$.moduls", "unknown"},
      {"a member twice", R"({"schemaVersion":"1.1","schemaVersion":"1.0","modules":{}})", 400, "$", "twice"},
      {"credentials without password",
       R"({"schemaVersion":"1.1","runtime":{"type":"docker","settings":{"registryCredentials":{"r":{"address":"a","username":"u"}}}},"modules":{}})",
       400, "$.runtime.settings.registryCredentials.r", "password"},
      {"deep nesting", nested(40), 400, "$", "deep"},
      {"very deep nesting", nested(100000), 400, "$", "deep"},
      {"a string of 10 MB", docker_module(R"({"image":")" + std::string(10'000'000, 'a') + R"("})"), 400, "$",
       "1 MiB"},
  };
}

std::vector<Bad> bad_settings() {
  const std::string image = R"({"image":"busybox"})";
  return {
      {"unknown module member", docker_module(image, R"("restartPolcy":"always",)"), 400,
       "$.modules.m.restartPolcy", "unknown"},
      {"unknown setting", docker_module(R"({"image":"busybox","imgae":"x"})"), 400,
       "$.modules.m.settings.imgae", "unknown"},
      {"policy of another type", docker_module(image, R"("restartPolicy":3,)"), 400,
       "$.modules.m.restartPolicy", "string"},
      {"unknown policy", docker_module(image, R"("restartPolicy":"sometimes",)"), 400,
       "$.modules.m.restartPolicy", "always"},
      {"order below zero", docker_module(image, R"("startupOrder":-1,)"), 400, "$.modules.m.startupOrder",
       "0"},
      {"order too large", docker_module(image, R"("startupOrder":4294967296,)"), 400,
       "$.modules.m.startupOrder", "4294967295"},
      {"env without value member", docker_module(image, R"("env":{"A":"b"},)"), 400, "$.modules.m.env.A",
       "object"},
      {"env name with =", docker_module(image, R"("env":{"A=B":{"value":"b"}},)"), 400, "$.modules.m.env.A=B",
       "environment"},
      {"no image", docker_module("{}"), 400, "$.modules.m.settings", "image"},
      {"blank image", docker_module(R"({"image":"  "})"), 400, "$.modules.m.settings.image", "blank"},
      {"image in capitals", docker_module(R"({"image":"Bad Image:1"})"), 400, "$.modules.m.settings.image",
       "image"},
      {"image with a path trick", docker_module(R"({"image":"../../etc/passwd"})"), 400,
       "$.modules.m.settings.image", "image"},
      {"image with a line feed", docker_module(R"({"image":"busybox\nHost: x"})"), 400,
       "$.modules.m.settings.image", "image"},
      {"digest too short", docker_module(R"({"image":"busybox","digest":"sha256:12"})"), 400,
       "$.modules.m.settings.digest", "sha256"},
      {"createOptions no JSON", docker_module(R"({"image":"busybox","createOptions":"{HostConfig"})"), 400,
       "$.modules.m.settings.createOptions", "JSON"},
      {"createOptions a list", docker_module(R"({"image":"busybox","createOptions":"[]"})"), 400,
       "$.modules.m.settings.createOptions", "object"},
      {"createOptions cut in its chunks",
       docker_module(R"({"image":"busybox","createOptions":"{\"a\":","createOptions01":"1"})"), 400,
       "$.modules.m.settings.createOptions", "JSON"},
      {"command a text",
       R"({"schemaVersion":"1.1","modules":{"m":{"type":"process","settings":{"command":"rm -rf /"}}}})", 400,
       "$.modules.m.settings.command", "array"},
      {"no command",
       R"({"schemaVersion":"1.1","modules":{"m":{"type":"process","settings":{"command":[]}}}})", 400,
       "$.modules.m.settings.command", "program"},
      {"unknown type", R"({"schemaVersion":"1.1","modules":{"m":{"type":"wasm","settings":{}}}})", 400,
       "$.modules.m.type", "docker"},
      {"a string of 100 kB", docker_module(R"({"image":")" + std::string(100'000, 'a') + R"("})"), 400,
       "$.modules.m.settings.image", ""},
  };
}

std::vector<Bad> bad_names() {
  return {
      {"name with a path", named("../../etc/cron.d/x"), 400, "$.modules.", "module name"},
      {"name of dots", named(".."), 400, "$.modules...", "module name"},
      {"name with a slash", named("a/b"), 400, "$.modules.a/b", "module name"},
      {"name with NUL", named("a\\u0000b"), 400, "$.modules.a\\u0000b", "module name"},
      {"name that would clear a terminal", named("\\u001b[2J"), 400, "$.modules.\\u001b[2J", "module name"},
      {"name too long", named(std::string(64, 'a')), 400, "$.modules.", "module name"},
      {"a module twice",
       R"({"schemaVersion":"1.1","modules":{"m":{)" + std::string(kSleep) + R"(},"m":{)" + kSleep + "}}}",
       400, "$", "twice"},
      {"edgeHub among modules", named("edgeHub"), 400, "$.modules.edgeHub", "systemModules"},
  };
}

std::vector<Bad> bad_documents() {
  auto all = bad_shapes();
  for (auto part : {bad_settings(), bad_names()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// One agent for all of them: what ran before the first runs after the last, untouched.
TEST(Refusal, ByCodeAndPlaceAndTheDeploymentBeforeGoesOn) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module("good", "exec sleep 100000"))).status, 0);
  ASSERT_TRUE(agent.becomes("good", "running")) << agent.describe();
  const auto before = agent.module("good").at("runtimeId");
  const auto documents = bad_documents();
  for (const auto& bad : documents) {
    SCOPED_TRACE(bad.name);
    const auto verdict = agent.post("/v1/desired", bad.document);
    ASSERT_TRUE(verdict.is_object());
    EXPECT_EQ(verdict.at("code"), bad.code) << json::serialize(verdict);
    const std::string message = verdict.at("message").as_string().c_str();
    EXPECT_TRUE(message.starts_with(bad.where)) << message;
    EXPECT_NE(message.find(bad.what), std::string::npos) << message;
    EXPECT_LT(message.size(), 600u) << "a hostile document does not choose how long our messages are";
    EXPECT_EQ(agent.module("good").at("runtimeId"), before);
  }
  const Outcome refused = agent.apply(documents.back().document);
  EXPECT_EQ(refused.status, 3);
  EXPECT_NE(refused.err.find(documents.back().where), std::string::npos) << refused.text();
  EXPECT_NE(refused.err.find("the deployment before goes on running"), std::string::npos) << refused.text();
  std::size_t logged = 0;
  for (const auto& event : agent.history({"deployment", "--type", "desired.received"})) {
    const auto& data = event.at("data");
    if (data.at("problem_code") == 0) continue;
    if (logged == documents.size()) break;
    EXPECT_EQ(data.at("problem_code"), documents[logged].code) << documents[logged].name;
    EXPECT_TRUE(data.at("problem").as_string().starts_with(documents[logged].where)) << json::serialize(data);
    ++logged;
  }
  EXPECT_EQ(logged, documents.size());
  ASSERT_TRUE(eventually([&] {
    return agent.reported().is_object() &&
           agent.reported().at("lastDesiredStatus").at("code") == documents.back().code;
  }));
  EXPECT_EQ(agent.reported().at("modules").at("good").at("runtimeStatus"), "running");
  EXPECT_EQ(agent.state("good"), "running");
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

// The same by the fleet's way, where nobody waits for an answer: the reported document gives it.
TEST(Refusal, ReachesTheFleetInTheReportedDocument) {
  AgentUnderTest agent;
  agent.start();
  const auto answered = [&](int code, const std::string& place) {
    return eventually([&] {
      const auto reported = agent.reported();
      if (!reported.is_object()) return false;
      const auto& status = reported.at("lastDesiredStatus");
      return status.at("code") == code &&
             std::string(status.at("description").as_string()).find(place) != std::string::npos;
    });
  };
  agent.put_desired(deployment(process_module("good", "exec sleep 100000")));
  ASSERT_TRUE(answered(200, "")) << agent.describe();
  agent.put_desired(R"({"schemaVersion":"3.0","modules":{}})");
  EXPECT_TRUE(answered(412, "$.schemaVersion")) << json::serialize(agent.reported());
  agent.put_desired(R"({"schemaVersion":"1.1","modules":{"x":{"type":"docker"}}})");
  EXPECT_TRUE(answered(400, "$.modules.x")) << json::serialize(agent.reported());
  agent.put_desired("{}");
  EXPECT_TRUE(answered(417, "empty")) << json::serialize(agent.reported());
  agent.put_desired(R"({"schemaVersion":"1.1","modules":)" + std::string(3'000'000, ' ') + "{}}");
  EXPECT_TRUE(answered(400, "1 MiB")) << json::serialize(agent.reported());
  EXPECT_TRUE(agent.becomes("good", "running")) << agent.describe();
  EXPECT_EQ(agent.reported().at("deployment").at("version").to_number<int>(), 1);
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

TEST(Config, IsRefusedByFileLineAndKey) {
  AgentUnderTest agent;
  const std::string file = agent.path("bad.toml");
  const struct {
    const char* text;
    const char* where;
    const char* what;
  } cases[] = {
      {"device = \"d\"\n[agent]\nmetrix = \"127.0.0.1:1\"\n", ":3: agent.metrix", "unknown key"},
      {"device = \"d\"\n[uplink]\nkind = \"carrier-pigeon\"\n", ":3: uplink.kind", "local, nats, none"},
      {"device = \"d\"\n[uplink]\nping_every = \"soon\"\n", ":3: uplink.ping_every", ""},
      {"device = 7\n", ":1: device", "string"},
      {"\n[agent]\n", "device", "missing"},
      {"device = \"d\"\n[agent]\njournal_budget = \"1KiB\"\n", ":3: agent.journal_budget", "at least"},
      {"device = \"d\"\n[agent]\nmetrics = \"localhost:http\"\n", ":3: agent.metrics", "IP address"},
      {"device = \"d\"\n[hub]\nmqtt_plain = \"0.0.0.0:1883\"\n", ":3: hub.mqtt_plain", "loopback"},
      {"device = \"d\"\n[hub]\nallow_anonymous = true\n", ":3: hub.allow_anonymous", "mqtt_plain"},
      {"device = \"d\"\n[agent\n", ":2", "column"},
      {"device = \"d\"\ndevice = \"e\"\n", ":2", ""},
      {"device = \"../../d\"\n", ":1: device", "letters"},
  };
  for (const auto& wrong : cases) {
    SCOPED_TRACE(wrong.text);
    write_file(file, wrong.text);
    const Outcome checked = run({DECKLOG_PROGRAM, "--config", file, "check-config"});
    EXPECT_EQ(checked.status, 2);
    EXPECT_NE(checked.err.find(file), std::string::npos) << checked.text();
    EXPECT_NE(checked.err.find(wrong.where), std::string::npos) << checked.text();
    EXPECT_NE(checked.err.find(wrong.what), std::string::npos) << checked.text();
    EXPECT_EQ(run({DECKLOG_PROGRAM, "--config", file, "agent"}).status, 2) << "an agent does not start on it";
  }
  EXPECT_EQ(agent.cli({"check-config"}).status, 0);
  EXPECT_EQ(
      run({DECKLOG_PROGRAM, "--config", DECKLOG_SOURCE_DIR "/examples/config.toml", "check-config"}).status,
      0);
  EXPECT_EQ(run({DECKLOG_PROGRAM, "--config", agent.path("none.toml"), "check-config"}).status, 2);
}

TEST(CommandLine, AnAnswerThatCannotBeWrittenIsNoSuccess) {
  const Outcome full = run({"/bin/sh", "-c", "exec \"$1\" machines >/dev/full", "sh", DECKLOG_PROGRAM});
  EXPECT_EQ(full.status, 1);
  EXPECT_NE(full.err.find("could not be written"), std::string::npos) << full.text();
}

TEST(Config, ASecondAgentOnTheSameDataIsTurnedAway) {
  AgentUnderTest agent;
  agent.start();
  const Outcome second = agent.cli({"agent"});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("another agent is running"), std::string::npos) << second.text();
  EXPECT_FALSE(agent.ask("/v1/status").is_null()) << "and the first one keeps its socket";
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

}  // namespace
}  // namespace decklog::e2e
