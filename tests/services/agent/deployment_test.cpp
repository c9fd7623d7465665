// The desired document as written by people and by hostile hands: what is read, and every refusal with its
// path.
#include "services/agent/stored_deployment.hpp"

#include <gtest/gtest.h>

#include <string>

namespace decklog::agent {
namespace {

using statemachines::RestartSettings;

constexpr const char* kDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

std::string in_document(const std::string& members) {
  return R"({"schemaVersion":"1.1",)" + members + "}";
}
std::string with_module(const std::string& module) {
  return in_document(R"("modules":{"sensor":)" + module + "}");
}
// A process module with these members beside what it needs.
std::string with_members(const std::string& members) {
  return with_module(R"({"type":"process","settings":{"command":["/bin/true"]},)" + members + "}");
}
std::string with_settings(const std::string& settings) {
  return with_module(R"({"type":"docker","settings":)" + settings + "}");
}
std::string with_process_settings(const std::string& settings) {
  return with_module(R"({"type":"process","settings":)" + settings + "}");
}
std::string with_probe(const std::string& probe) {
  return with_members(R"("probes":{"liveness":)" + probe + "}");
}

DesiredModule only_module(const std::string& document) {
  const auto parsed = parse_deployment(document);
  EXPECT_TRUE(parsed.has_value()) << describe(parsed.error());
  return parsed && parsed->modules.contains(ModuleName("sensor")) ? parsed->modules.at(ModuleName("sensor"))
                                                                  : DesiredModule{};
}

TEST(Deployment, AnUnhealthyModuleIsSeenAsSuchBeforeItsPolicyActs) {
  EXPECT_EQ(only_module(with_members(R"("version":"1")")).restart.unhealthy_stop_grace, kUnhealthyGrace);
  EXPECT_EQ(only_module(with_members(R"("restart":{"unhealthyGraceSecs":0})")).restart.unhealthy_stop_grace,
            Duration::zero());
}

struct RefusedDocument {
  const char* what;
  std::string document;
  int code;
  const char* where;  // the path the message must name
};
void PrintTo(const RefusedDocument& refused, std::ostream* out) {
  *out << refused.what;
}

class Refused : public testing::TestWithParam<RefusedDocument> {};

TEST_P(Refused, WithItsPathAndCode) {
  const auto parsed = parse_deployment(GetParam().document);
  ASSERT_FALSE(parsed.has_value()) << GetParam().what;
  EXPECT_EQ(parsed.error().where, GetParam().where) << describe(parsed.error());
  EXPECT_EQ(desired_status_code(parsed.error()), GetParam().code) << describe(parsed.error());
  EXPECT_FALSE(parsed.error().message.empty());
  EXPECT_LT(describe(parsed.error()).size(), 1024u) << "a refusal is for people";
}

const char* const kModule = "$.modules.sensor";
const char* const kSettings = "$.modules.sensor.settings";

INSTANTIATE_TEST_SUITE_P(
    Shape, Refused,
    testing::Values(
        RefusedDocument{"empty", "", 417, "$"}, RefusedDocument{"blank", " \n\t", 417, "$"},
        RefusedDocument{"empty object", "{}", 417, "$"}, RefusedDocument{"not JSON", "desired", 400, "$"},
        RefusedDocument{"cut off", R"({"schemaVersion":"1.1")", 400, "$"},
        RefusedDocument{"two values", "{} {}", 400, "$"}, RefusedDocument{"a list", "[]", 400, "$"},
        RefusedDocument{"a number", "17", 400, "$"}, RefusedDocument{"null", "null", 400, "$"},
        RefusedDocument{"bytes that are no text", std::string("{\"schemaVersion\":\"\xff\xfe\"}"), 400, "$"},
        RefusedDocument{"a byte of zero", std::string("{\"a\":\0 1}", 9), 400, "$"},
        RefusedDocument{"comments", "{\"schemaVersion\":\"1.1\"/* hi */}", 400, "$"},
        RefusedDocument{"larger than 1 MiB", R"({"schemaVersion":")" + std::string(1 << 20, 'x') + "\"}", 400,
                        "$"},
        RefusedDocument{"a string of 10 MB", R"({"schemaVersion":")" + std::string(10'000'000, 'x') + "\"}",
                        400, "$"},
        RefusedDocument{"nested ten thousand deep", std::string(10'000, '[') + std::string(10'000, ']'), 400,
                        "$"},
        RefusedDocument{"objects nested too deep",
                        [] {
                          std::string text;
                          for (int i = 0; i < 40; ++i) text += R"({"a":)";
                          return text + "1" + std::string(40, '}');
                        }(),
                        400, "$"},
        RefusedDocument{"a member twice", R"({"schemaVersion":"1.1","schemaVersion":"1.0"})", 400, "$"},
        RefusedDocument{"a module twice",
                        in_document(R"("modules":{"a":{"type":"process","settings":{"command":["x"]}},
                                                  "a":{"type":"process","settings":{"command":["y"]}}})"),
                        400, "$"},
        RefusedDocument{"a module twice, once escaped",
                        in_document(R"("modules":{"a":{"type":"process","settings":{"command":["x"]}},
                                                  "\u0061":{"type":"process","settings":{"command":["y"]}}})"),
                        400, "$"},
        RefusedDocument{"no schemaVersion", R"({"modules":{}})", 400, "$.schemaVersion"},
        RefusedDocument{"a number as schemaVersion", R"({"schemaVersion":1.1})", 400, "$.schemaVersion"},
        RefusedDocument{"another schemaVersion", R"({"schemaVersion":"2.0"})", 412, "$.schemaVersion"},
        RefusedDocument{"an older schemaVersion", R"({"schemaVersion":"0.9"})", 412, "$.schemaVersion"},
        RefusedDocument{"a schemaVersion that only begins well", R"({"schemaVersion":"1.10"})", 412,
                        "$.schemaVersion"},
        RefusedDocument{"an unknown section", in_document(R"("module":{})"), 400, "$.module"},
        RefusedDocument{"modules as a list", in_document(R"("modules":[])"), 400, "$.modules"},
        RefusedDocument{"a module as text", with_module(R"("on")"), 400, kModule},
        RefusedDocument{"a manifest without $edgeAgent", R"({"modulesContent":{"sensor":{}}})", 400,
                        "$.modulesContent.$edgeAgent"},
        RefusedDocument{"a manifest without desired properties", R"({"modulesContent":{"$edgeAgent":{}}})",
                        400, "$.modulesContent.$edgeAgent.properties.desired"}));

std::string named(const std::string& name) {
  return in_document(R"("modules":{")" + name + R"(":{"type":"process","settings":{"command":["x"]}}})");
}

INSTANTIATE_TEST_SUITE_P(
    Names, Refused,
    testing::Values(RefusedDocument{"no name", named(""), 400, "$.modules."},
                    RefusedDocument{"parent directory", named(".."), 400, "$.modules..."},
                    RefusedDocument{"a path", named("../../etc"), 400, "$.modules.../../etc"},
                    RefusedDocument{"an absolute path", named("/etc"), 400, "$.modules./etc"},
                    RefusedDocument{"a backslash", named("a\\\\b"), 400, "$.modules.a\\b"},
                    RefusedDocument{"a space", named("a b"), 400, "$.modules.a b"},
                    RefusedDocument{"a newline", named("a\\n"), 400, "$.modules.a\\u000a"},
                    RefusedDocument{"a hidden file", named(".profile"), 400, "$.modules..profile"},
                    RefusedDocument{"an option", named("-rf"), 400, "$.modules.-rf"},
                    RefusedDocument{"letters that look alike", named("s\\u0435nsor"), 400,
                                    "$.modules.s\xd0\xb5nsor"},
                    RefusedDocument{"the agent as a module", named("edgeAgent"), 400, "$.modules.edgeAgent"},
                    RefusedDocument{"the hub as a module", named("edgeHub"), 400, "$.modules.edgeHub"},
                    RefusedDocument{"a stranger among system modules",
                                    in_document(R"("systemModules":{"spy":{"type":"process"}})"), 400,
                                    "$.systemModules.spy"}));

INSTANTIATE_TEST_SUITE_P(
    Modules, Refused,
    testing::Values(
        RefusedDocument{"an unknown member", with_members(R"("restartpolicy":"always")"), 400,
                        "$.modules.sensor.restartpolicy"},
        RefusedDocument{"no type", with_module(R"({"settings":{"image":"a"}})"), 400,
                        "$.modules.sensor.type"},
        RefusedDocument{"an unknown type", with_module(R"({"type":"vm","settings":{"image":"a"}})"), 400,
                        "$.modules.sensor.type"},
        RefusedDocument{"no settings", with_module(R"({"type":"docker"})"), 400, kSettings},
        RefusedDocument{"an unknown status", with_members(R"("status":"paused")"), 400,
                        "$.modules.sensor.status"},
        RefusedDocument{"a number as status", with_members(R"("status":1)"), 400, "$.modules.sensor.status"},
        RefusedDocument{"an unknown policy", with_members(R"("restartPolicy":"sometimes")"), 400,
                        "$.modules.sensor.restartPolicy"},
        RefusedDocument{"an unknown pull policy", with_members(R"("imagePullPolicy":"always")"), 400,
                        "$.modules.sensor.imagePullPolicy"},
        RefusedDocument{"a negative order", with_members(R"("startupOrder":-1)"), 400,
                        "$.modules.sensor.startupOrder"},
        RefusedDocument{"a broken order", with_members(R"("startupOrder":1.5)"), 400,
                        "$.modules.sensor.startupOrder"},
        RefusedDocument{"an order past 32 bits", with_members(R"("startupOrder":4294967296)"), 400,
                        "$.modules.sensor.startupOrder"},
        RefusedDocument{"a version that is no text", with_members(R"("version":1)"), 400,
                        "$.modules.sensor.version"},
        RefusedDocument{"a text over 64 KiB", with_members(R"("version":")" + std::string(65537, 'v') + "\""),
                        400, "$.modules.sensor.version"},
        RefusedDocument{"a NUL in a text", with_members(R"("version":"1\u0000")"), 400,
                        "$.modules.sensor.version"},
        RefusedDocument{"env as a list", with_members(R"("env":["A=b"])"), 400, "$.modules.sensor.env"},
        RefusedDocument{"an env value without its object", with_members(R"("env":{"A":"b"})"), 400,
                        "$.modules.sensor.env.A"},
        RefusedDocument{"an env name with =", with_members(R"("env":{"A=b":{"value":"c"}})"), 400,
                        "$.modules.sensor.env.A=b"},
        RefusedDocument{"an env name that is empty", with_members(R"("env":{"":{"value":"c"}})"), 400,
                        "$.modules.sensor.env."},
        RefusedDocument{"an env entry with more", with_members(R"("env":{"A":{"value":"b","from":"c"}})"),
                        400, "$.modules.sensor.env.A.from"},
        RefusedDocument{"a stop timeout beyond an hour", with_members(R"("stopTimeoutSecs":3601)"), 400,
                        "$.modules.sensor.stopTimeoutSecs"},
        RefusedDocument{"a negative stop timeout", with_members(R"("stopTimeoutSecs":-1)"), 400,
                        "$.modules.sensor.stopTimeoutSecs"},
        RefusedDocument{"an unknown restart setting", with_members(R"("restart":{"first":1})"), 400,
                        "$.modules.sensor.restart.first"},
        RefusedDocument{"a cap below the first step",
                        with_members(R"("restart":{"backoffFirstSecs":10,"backoffCapSecs":5})"), 400,
                        "$.modules.sensor.restart"},
        RefusedDocument{"too many tries", with_members(R"("restart":{"maxTries":1000001})"), 400,
                        "$.modules.sensor.restart.maxTries"},
        RefusedDocument{"a probe without a kind", with_probe("{}"), 400, "$.modules.sensor.probes.liveness"},
        RefusedDocument{"a probe of two kinds", with_probe(R"({"tcp":{"port":1},"exec":{"command":["x"]}})"),
                        400, "$.modules.sensor.probes.liveness"},
        RefusedDocument{"port 0", with_probe(R"({"tcp":{"port":0}})"), 400,
                        "$.modules.sensor.probes.liveness.tcp.port"},
        RefusedDocument{"port 65536", with_probe(R"({"http":{"port":65536}})"), 400,
                        "$.modules.sensor.probes.liveness.http.port"},
        RefusedDocument{"a path that smuggles a header",
                        with_probe(R"({"http":{"port":80,"path":"/ HTTP/1.1\r\nHost: x"}})"), 400,
                        "$.modules.sensor.probes.liveness.http.path"},
        RefusedDocument{"an exec probe without a program", with_probe(R"({"exec":{"command":[]}})"), 400,
                        "$.modules.sensor.probes.liveness.exec.command"},
        RefusedDocument{"a threshold of 0", with_probe(R"({"tcp":{"port":1},"failureThreshold":0})"), 400,
                        "$.modules.sensor.probes.liveness.failureThreshold"},
        RefusedDocument{"an unknown probe", with_members(R"("probes":{"readiness":{"tcp":{"port":1}}})"), 400,
                        "$.modules.sensor.probes.readiness"}));

INSTANTIATE_TEST_SUITE_P(
    Settings, Refused,
    testing::Values(
        RefusedDocument{"an unknown setting", with_settings(R"({"image":"a","Image":"b"})"), 400,
                        "$.modules.sensor.settings.Image"},
        RefusedDocument{"no image", with_settings("{}"), 400, "$.modules.sensor.settings.image"},
        RefusedDocument{"a blank image", with_settings(R"({"image":" "})"), 400,
                        "$.modules.sensor.settings.image"},
        RefusedDocument{"an image in capitals", with_settings(R"({"image":"Team/Sensor"})"), 400,
                        "$.modules.sensor.settings.image"},
        RefusedDocument{"an image with a space", with_settings(R"({"image":"team/sen sor"})"), 400,
                        "$.modules.sensor.settings.image"},
        RefusedDocument{"an image that climbs", with_settings(R"({"image":"../../sensor"})"), 400,
                        "$.modules.sensor.settings.image"},
        RefusedDocument{"an image with a query", with_settings(R"({"image":"sensor?tag=1"})"), 400,
                        "$.modules.sensor.settings.image"},
        RefusedDocument{"a digest that is none", with_settings(R"({"image":"a","digest":"sha256:12"})"), 400,
                        "$.modules.sensor.settings.digest"},
        RefusedDocument{"createOptions that are not JSON",
                        with_settings(R"({"image":"a","createOptions":"{Cmd"})"), 400,
                        "$.modules.sensor.settings.createOptions"},
        RefusedDocument{"createOptions that are a list",
                        with_settings(R"({"image":"a","createOptions":"[]"})"), 400,
                        "$.modules.sensor.settings.createOptions"},
        RefusedDocument{"createOptions as a number", with_settings(R"({"image":"a","createOptions":5})"), 400,
                        "$.modules.sensor.settings.createOptions"},
        RefusedDocument{"createOptions with a chunk missing",
                        with_settings(R"({"image":"a","createOptions":"{\"Cmd\":","createOptions02":"[]}"})"),
                        400, "$.modules.sensor.settings.createOptions"},
        RefusedDocument{"createOptions nested too deep",
                        with_settings(R"({"image":"a","createOptions":"{\"a\":)" + std::string(60, '[') +
                                      std::string(60, ']') + R"(}"})"),
                        400, "$.modules.sensor.settings.createOptions"},
        RefusedDocument{"createOptions with a member twice",
                        with_settings(R"({"image":"a","createOptions":"{\"Cmd\":[],\"Cmd\":[]}"})"), 400,
                        "$.modules.sensor.settings.createOptions"},
        RefusedDocument{"no command", with_process_settings("{}"), 400, "$.modules.sensor.settings.command"},
        RefusedDocument{"a command as text", with_process_settings(R"({"command":"rm -rf /"})"), 400,
                        "$.modules.sensor.settings.command"},
        RefusedDocument{"an empty command", with_process_settings(R"({"command":[""]})"), 400,
                        "$.modules.sensor.settings.command"},
        RefusedDocument{"an argument that is no text", with_process_settings(R"({"command":["a",1]})"), 400,
                        "$.modules.sensor.settings.command[1]"},
        RefusedDocument{"a NUL in an argument", with_process_settings(R"({"command":["a","b\u0000c"]})"), 400,
                        "$.modules.sensor.settings.command[1]"},
        RefusedDocument{"a limit past the sensible",
                        with_process_settings(R"({"command":["a"],"memoryLimitBytes":1e30})"), 400,
                        "$.modules.sensor.settings.memoryLimitBytes"}));

INSTANTIATE_TEST_SUITE_P(
    Sections, Refused,
    testing::Values(
        RefusedDocument{"runtime without a type", in_document(R"("runtime":{})"), 400, "$.runtime.type"},
        RefusedDocument{"a login without a password",
                        in_document(R"("runtime":{"type":"docker","settings":{"registryCredentials":
                                       {"r":{"address":"r:1","username":"anna"}}}})"),
                        400, "$.runtime.settings.registryCredentials.r.password"},
        RefusedDocument{"a login with a blank address",
                        in_document(R"("runtime":{"type":"docker","settings":{"registryCredentials":
                                       {"r":{"address":" ","username":"anna","password":"x"}}}})"),
                        400, "$.runtime.settings.registryCredentials.r.address"},
        RefusedDocument{"a login with more",
                        in_document(R"("runtime":{"type":"docker","settings":{"registryCredentials":
                                       {"r":{"address":"a","username":"b","password":"c","email":"d"}}}})"),
                        400, "$.runtime.settings.registryCredentials.r.email"},
        RefusedDocument{"rollback as text", in_document(R"("rollback":{"onFailure":"yes"})"), 400,
                        "$.rollback.onFailure"},
        RefusedDocument{"a deadline beyond a week", in_document(R"("rollback":{"deadlineSecs":604801})"), 400,
                        "$.rollback.deadlineSecs"}));

TEST(Deployment, RefusesTheFiveHundredAndFirstModule) {
  std::string modules;
  for (std::size_t i = 0; i < kMaxModules + 1; ++i) {
    modules += (i ? "," : "") + std::string("\"m") + std::to_string(i) +
               R"(":{"type":"process","settings":{"command":["x"]}})";
  }
  const auto parsed = parse_deployment(in_document("\"modules\":{" + modules + "}"));
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().where, "$.modules.m500");
}

TEST(Deployment, WhatSaysNothingForAModulesTypeIsRefusedAnewAndReadFromTheLog) {
  for (const std::string& document : {with_process_settings(R"({"command":["a"],"image":"b"})"),
                                      with_process_settings(R"({"command":["a"],"createOptions01":"{}"})"),
                                      with_settings(R"({"image":"a","memoryLimitBytes":1})"),
                                      with_settings(R"({"image":"a","user":"u"})")}) {
    const auto parsed = parse_deployment(document);
    ASSERT_FALSE(parsed.has_value()) << document;
    EXPECT_TRUE(parsed.error().where.starts_with("$.modules.sensor.settings.")) << parsed.error().where;
    EXPECT_TRUE(parse_stored_deployment(document)) << "accepted by an earlier build";
  }
}

TEST(Deployment, AProgramMayBePinnedToo) {
  const std::string pinned =
      with_process_settings(R"({"command":["a"],"digest":")" + std::string(kDigest) + "\"}");
  EXPECT_EQ(only_module(pinned).digest, kDigest);
  EXPECT_NE(only_module(pinned).spec_hash,
            only_module(with_process_settings(R"({"command":["a"]})")).spec_hash);
  EXPECT_FALSE(parse_deployment(with_process_settings(R"({"command":["a"],"digest":"sha256:12"})")));
}

TEST(Deployment, ARefusalNeverQuotesAPassword) {
  const auto parsed = parse_deployment(in_document(R"("runtime":{"type":"docker","settings":
      {"registryCredentials":{"r":{"address":"r","username":"u","password":["hunter2-hunter2"]}}}})"));
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(describe(parsed.error()).find("hunter2"), std::string::npos);
}

TEST(Deployment, ARefusalQuotesNothingThatDrivesATerminal) {
  const std::string escape = R"(\u001b[2J)";
  for (const std::string& document :
       {R"({"schemaVersion":")" + escape + "\"}", in_document("\"" + escape + "\":1,\"" + escape + "\":2"),
        with_settings(R"({"image":")" + escape + "\"}"), in_document("\"" + escape + "\":1")}) {
    const auto parsed = parse_deployment(document);
    ASSERT_FALSE(parsed.has_value());
    EXPECT_EQ(describe(parsed.error()).find('\x1b'), std::string::npos) << document;
  }
}

TEST(Deployment, GivesDefaultsAsTheEdgeRuntimeDoes) {
  const auto module = only_module(with_settings(R"({"image":"sensor"})"));
  EXPECT_EQ(module.image, "sensor:latest");
  EXPECT_EQ(module.status, ModuleTarget::kRunning);
  EXPECT_EQ(module.policy, RestartPolicy::kOnUnhealthy);
  EXPECT_EQ(module.pull_policy, runtime::PullPolicy::kOnCreate);
  EXPECT_EQ(module.startup_order, 4294967295u);
  EXPECT_EQ(module.create_options, "{}");
  EXPECT_EQ(module.restart, (RestartSettings{.unhealthy_stop_grace = kUnhealthyGrace}));
  EXPECT_FALSE(module.has_probe);
  EXPECT_EQ(module.spec_hash.size(), 64u);
  EXPECT_NE(module.spec, 0u);
}

TEST(Deployment, ReadsWhatIsWritten) {
  const auto module = only_module(with_members(R"("status":"STOPPED","restartPolicy":"On-Failure",
      "startupOrder":3,"version":"2","env":{"A":{"value":"b"},"N":{"value":5},"E":{}},"stopTimeoutSecs":1.5,
      "restart":{"backoffFirstSecs":2,"backoffCapSecs":30,"maxTries":0,"afterTries":"giveUp"},
      "probes":{"startup":{"tcp":{"port":80}},"liveness":{"http":{"port":8080,"path":"/health"},
      "intervalSecs":0,"failureThreshold":2}})"));
  EXPECT_EQ(module.status, ModuleTarget::kStopped);
  EXPECT_EQ(module.policy, RestartPolicy::kOnFailure);
  EXPECT_EQ(module.startup_order, 3u);
  EXPECT_EQ(module.version, "2");
  EXPECT_EQ(module.env, (std::map<std::string, std::string>{{"A", "b"}, {"E", ""}, {"N", "5"}}));
  EXPECT_EQ(module.stop_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(module.restart.backoff_first, std::chrono::seconds(2));
  EXPECT_EQ(module.restart.after_tries, RestartSettings::AfterTries::kGiveUp);
  ASSERT_TRUE(module.startup && module.liveness);
  EXPECT_EQ(module.startup->port, 80);
  EXPECT_EQ(module.liveness->path, "/health");
  EXPECT_EQ(module.liveness->failure_threshold, 2u);
  EXPECT_GE(module.liveness->interval, std::chrono::milliseconds(100)) << "a probe is never a busy loop";
}

TEST(Deployment, JoinsChunkedCreateOptions) {
  const auto whole = only_module(
      with_settings(R"({"image":"a","createOptions":"{\"Cmd\":[\"x\"],\"HostConfig\":{\"Memory\":5}}"})"));
  const auto chunked = only_module(with_settings(
      R"({"image":"a","createOptions":"{\"Cmd\":[\"x\"","createOptions01":"],\"HostConfig\"",
          "createOptions02":":{\"Memory\":5}}"})"));
  const auto object =
      only_module(with_settings(R"({"image":"a","createOptions":{"Cmd":["x"],"HostConfig":{"Memory":5}}})"));
  EXPECT_EQ(whole.create_options, R"({"Cmd":["x"],"HostConfig":{"Memory":5}})");
  EXPECT_EQ(chunked.spec_hash, whole.spec_hash);
  EXPECT_EQ(object.spec_hash, whole.spec_hash);
  EXPECT_EQ(only_module(with_settings(R"({"image":"a","createOptions":""})")).create_options, "{}");
}

TEST(Deployment, OnlyWhatAModuleIsMadeOfChangesItsSpec) {
  const auto base = only_module(with_members(R"("version":"1")"));
  for (const char* same :
       {R"("version":"2")", R"("restartPolicy":"never")", R"("startupOrder":7)", R"("status":"stopped")",
        R"("probes":{"liveness":{"tcp":{"port":1}}})", R"("restart":{"maxTries":3})",
        R"("stopTimeoutSecs":30)", R"("imagePullPolicy":"never")"}) {
    EXPECT_EQ(only_module(with_members(same)).spec_hash, base.spec_hash) << same;
  }
  EXPECT_NE(only_module(with_members(R"("env":{"A":{"value":"1"}})")).spec_hash, base.spec_hash);
  EXPECT_NE(only_module(with_process_settings(R"({"command":["/bin/true","x"]})")).spec_hash, base.spec_hash);
  EXPECT_NE(only_module(with_process_settings(R"({"command":["/bin/true"],"user":"nobody"})")).spec_hash,
            base.spec_hash);
  const auto image = only_module(with_settings(R"({"image":"a:1"})"));
  EXPECT_NE(only_module(with_settings(R"({"image":"a:2"})")).spec_hash, image.spec_hash);
  EXPECT_NE(
      only_module(with_settings(std::string(R"({"image":"a:1","digest":")") + kDigest + "\"}")).spec_hash,
      image.spec_hash);
}

TEST(Deployment, TakesTheAgentsPartOfAManifest) {
  const auto parsed = parse_deployment(R"({"modulesContent":{"$edgeAgent":{"properties.desired":{
      "schemaVersion":"1.1","runtime":{"type":"docker","settings":{"registryCredentials":
        {"r":{"address":"r:5000","username":"anna","password":"pw"}}}},
      "systemModules":{"edgeAgent":{"type":"docker","settings":{"image":"x"}},
                       "edgeHub":{"type":"process"}},
      "modules":{"sensor":{"type":"docker","settings":{"image":"r:5000/a"}},"gone":null},
      "$version":7}},"$edgeHub":{"properties.desired":{"routes":{}}}}})");
  ASSERT_TRUE(parsed.has_value()) << describe(parsed.error());
  ASSERT_EQ(parsed->modules.size(), 2u) << "edgeAgent is this program; a null module is none";
  const auto& hub = parsed->modules.at(ModuleName("edgeHub"));
  EXPECT_TRUE(hub.system);
  EXPECT_EQ(hub.policy, RestartPolicy::kAlways);
  EXPECT_EQ(hub.startup_order, 0u);
  ASSERT_EQ(parsed->registries.size(), 1u);
  EXPECT_EQ(parsed->registries[0].address, "r:5000");
}

TEST(Deployment, ARollbackWithoutADeadlineGetsOne) {
  const auto parsed = parse_deployment(in_document(R"("rollback":{"onFailure":true,"minHealthySecs":2})"));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_TRUE(parsed->rollback_on_failure);
  EXPECT_EQ(parsed->min_healthy, std::chrono::seconds(2));
  EXPECT_GT(parsed->deadline, Duration::zero());
}

TEST(ModuleName, HasAFixedAlphabet) {
  for (const char* good : {"a", "A1", "sensor-2", "a.b_c", "0"}) EXPECT_TRUE(valid_module_name(good)) << good;
  EXPECT_TRUE(valid_module_name(std::string(63, 'a')));
  EXPECT_FALSE(valid_module_name(std::string(64, 'a')));
  for (const char* bad : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "\xc3\xa4"})
    EXPECT_FALSE(valid_module_name(bad)) << bad;
}

TEST(ImageReference, IsMadeWhole) {
  const std::pair<const char*, const char*> kGood[] = {
      {"sensor", "sensor:latest"},
      {"team/sensor:1.2", "team/sensor:1.2"},
      {"localhost:5000/team/sensor", "localhost:5000/team/sensor:latest"},
      {"mcr.example.com/a/b/c:v1_x", "mcr.example.com/a/b/c:v1_x"}};
  for (const auto& [given, whole] : kGood) {
    const auto normal = normalise_image(given);
    ASSERT_TRUE(normal.has_value()) << given;
    EXPECT_EQ(*normal, whole);
    EXPECT_EQ(normalise_image(*normal).value(), *normal) << "once whole, it stays";
  }
  const std::string pinned = std::string("sensor@") + kDigest;
  EXPECT_EQ(normalise_image(pinned).value(), pinned);
  EXPECT_TRUE(normalise_image(std::string("r.io/a:1@") + kDigest).has_value());
  EXPECT_EQ(registry_of("localhost:5000/team/sensor:1"), "localhost:5000");
  EXPECT_EQ(registry_of("team/sensor:1"), "docker.io");
  EXPECT_EQ(registry_of("sensor:1"), "docker.io");
}

TEST(ImageReference, RefusesWhatIsNone) {
  for (const char* bad :
       {"",    ":1",    "a:",          "a@sha256:12",    "UPPER", "a//b", "/a",   "a/",
        "a b", "a:b:c", "r.io:port/a", "https://r.io/a", "a@",    "-a",   "a:.t", "r.io:123456/a",
        "a\n", "a;rm",  "$(id)",       "a@md5:0"})
    EXPECT_FALSE(normalise_image(bad).has_value()) << bad;
  EXPECT_FALSE(normalise_image(std::string(513, 'a')).has_value());
}

TEST(ImageReference, ARefusalDoesNotQuoteCredentials) {
  const auto refused = normalise_image("ops:hunter2@r.io/Sensor:1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("hunter2"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("r.io/Sensor:1"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace decklog::agent
