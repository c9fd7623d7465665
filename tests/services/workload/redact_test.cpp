#include "services/workload/redact.hpp"

#include <gmock/gmock.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>

namespace decklog::workload {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

const KeyedDigest& digests() {
  static const KeyedDigest made = DeviceKeys(std::string(32, 'k')).digests();
  return made;
}

json::value redacted(std::string_view text) {
  auto result = redact(text, digests());
  EXPECT_TRUE(result) << describe(result.error());
  return result ? json::parse(*result) : json::value();
}

// One planted secret in every place a deployment can hold one.
constexpr std::string_view kPlanted = R"json({
  "schemaVersion": "1.1",
  "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25", "registryCredentials": {
    "acme": {"address": "acme.example.io", "username": "u", "password": "planted-01"}}}},
  "systemModules": {"edgeHub": {"type": "docker", "settings": {"image": "hub:1",
    "createOptions": "{\"Env\":[\"A=planted-02\",\"B=x=planted-03\"],\"HostConfig\":{\"LogConfig\":{\"Config\":{\"splunk-to", 
    "createOptions01": "ken\":\"planted-04\"}}},\"Labels\":{\"api_key\":\"planted-05\"},\"Cmd\":[\"run\",\"--password\",\"planted-06\",\"--to",
    "createOptions02": "ken=planted-07\"],\"Healthcheck\":{\"Test\":[\"CMD\",\"curl\",\"http://u:planted-08@localhost/\"]}}"}}},
  "modules": {
    "token-service": {"version": "1.0", "type": "process", "status": "running", "restartPolicy": "always",
      "env": {"RATE": {"value": "planted-09"}, "NUMBER": {"value": 424242421}, "DEEP": {"value": {"x": ["planted-10"]}}},
      "settings": {"command": ["./run", "--sas-token", "planted-11", "--name", "visible", "url=https://h/?sig=planted-12"],
        "connectionString": "planted-13", "db": "postgres://u:planted-14@host/db",
        "secret": {"value": "planted-15", "list": ["planted-16"]},
        "config": "{\"inner\":{\"primaryKey\":\"planted-17\"},\"rate\":5}",
        "iot": "HostName=h.azure.net;DeviceId=d;SharedAccessKey=planted-18",
        "pem": "-----BEGIN PRIVATE KEY-----\nplanted-19\n-----END PRIVATE KEY-----",
        "auth": "Bearer planted-20"},
      "probes": {"liveness": {"http": {"port": 80, "path": "/health?token=planted-21"}}}},
    "broken": {"type": "docker", "settings": {"image": "b:1", "createOptions": "{\"Env\":[\"A=planted-22\"]"}},
    "wrong": {"type": "docker", "settings": {"image": "b:1", "createOptions": ["planted-23"], "createOptions01": "planted-24"}}
  },
  "unknown": {"apiKey": "planted-25", "AZURE_CLIENT_SECRET": 1234567890123}
})json";

TEST(Redact, NoPlantedSecretRemains) {
  std::vector<std::string> secrets = {"424242421", "1234567890123"};
  for (int i = 1; i <= 25; ++i) {
    std::ostringstream name;
    name << "planted-" << (i < 10 ? "0" : "") << i;
    secrets.push_back(name.str());
  }
  ASSERT_THAT(find_secrets(kPlanted, secrets), testing::SizeIs(secrets.size()))
      << "the plant itself is wrong";
  const auto result = redact(kPlanted, digests());
  ASSERT_TRUE(result) << describe(result.error());
  for (const auto index : find_secrets(*result, secrets))
    ADD_FAILURE() << secrets[index] << " in " << *result;
}

TEST(Redact, WhatIsNotSecretStaysReadable) {
  const auto value = redacted(kPlanted);
  const auto& modules = value.at("modules").as_object();
  const auto& module = modules.at("token-service").as_object();
  EXPECT_EQ(module.at("status"), "running");
  EXPECT_EQ(module.at("restartPolicy"), "always");
  EXPECT_EQ(module.at("settings").at("command").at(0), "./run");
  EXPECT_EQ(module.at("settings").at("command").at(1), "--sas-token");
  EXPECT_EQ(module.at("settings").at("command").at(4), "visible");
  EXPECT_EQ(value.at("runtime").at("settings").at("registryCredentials").at("acme").at("username"), "u");
  EXPECT_EQ(value.at("systemModules").at("edgeHub").at("settings").at("image"), "hub:1");
  const auto options =
      json::parse(value.at("systemModules").at("edgeHub").at("settings").at("createOptions").as_string());
  EXPECT_EQ(options.at("Cmd").at(0), "run");
  EXPECT_THAT(std::string(options.at("Env").at(0).as_string()), testing::StartsWith("A=hmac:"));
  EXPECT_FALSE(
      value.at("systemModules").at("edgeHub").at("settings").as_object().contains("createOptions01"));
  const auto inner = json::parse(module.at("settings").at("config").as_string());
  EXPECT_EQ(inner.at("rate"), 5);
}

TEST(Redact, EqualStaysEqualAndTypesStay) {
  const auto value = redacted(
      R"({"env":{"A":{"value":"s3cret"},"B":{"value":"s3cret"},"C":{"value":"other"},"D":{"value":7},"E":{"value":""},"F":{"value":null}}})");
  const auto& env = value.at("env").as_object();
  EXPECT_EQ(env.at("A"), env.at("B"));
  EXPECT_NE(env.at("A"), env.at("C"));
  EXPECT_EQ(std::string(env.at("A").at("value").as_string()), digests().digest("s3cret"));
  EXPECT_TRUE(env.at("D").at("value").is_number());
  EXPECT_EQ(env.at("E").at("value"), "");
  EXPECT_TRUE(env.at("F").at("value").is_null());
  EXPECT_EQ(redacted(kPlanted), redacted(kPlanted));
}

TEST(Redact, CreateOptionsComeOutTheSameHoweverTheyWereCut) {
  const auto whole = redacted(R"({"settings":{"createOptions":"{\"Env\":[\"A=b\"]}"}})");
  const auto cut = redacted(
      R"({"settings":{"createOptions":"{\"Env\"","createOptions01":":[\"A","createOptions02":"=b\"]}"}})");
  EXPECT_EQ(whole, cut);
  EXPECT_EQ(redacted(R"({"settings":{"createOptions":""}})").at("settings").at("createOptions"), "");
  EXPECT_EQ(redacted(R"({"settings":{"createOptions":"null"}})").at("settings").at("createOptions"), "null");
}

TEST(Redact, RoutesAndModuleNamesAreNoSecrets) {
  const char* text =
      R"({"routes":{"tokens":"FROM /messages/* INTO $upstream","key":{"route":"FROM /a INTO $upstream","priority":1}},"modules":{"key":{"status":"running"}}})";
  EXPECT_EQ(redacted(text), json::parse(text));
}

TEST(Redact, AModuleMayBeCalledLikeAMember) {
  for (const char* name : {"env", "Env", "settings", "command", "args", "routes", "modules", "createOptions",
                           "createOptions01", "password"}) {
    const std::string text = std::string(R"({"modules":{")") + name +
                             R"(":{"type":"process","settings":{"command":["/bin/x"]}}}})";
    EXPECT_EQ(redacted(text), json::parse(text)) << name;
    const std::string manifest = R"({"modulesContent":{"$edgeAgent":{"properties.desired":)" + text + "}}}";
    EXPECT_EQ(redacted(manifest), json::parse(manifest)) << name;
  }
}

TEST(Redact, ASecretInAPathLeavesAPath) {
  const auto value = redacted(R"({"http":{"port":80,"path":"/health?token=planted-1"}})");
  const std::string path = value.at("http").at("path").as_string().c_str();
  EXPECT_TRUE(path.starts_with('/')) << path;
  EXPECT_EQ(path.find("planted"), std::string::npos) << path;
}

TEST(Redact, RefusesWhatItCannotRead) {
  EXPECT_EQ(redact("{\"a\":", digests()).error().code, Errc::kMalformed);
  EXPECT_EQ(redact(std::string(100, '['), digests()).error().code, Errc::kMalformed);
  EXPECT_EQ(redact(std::string(kMaxRedactBytes + 1, ' '), digests()).error().code, Errc::kTooLarge);
  EXPECT_THAT(redact("{\"password\": hunter2}", digests()).error().message, Not(HasSubstr("hunter2")));
}

TEST(SecretNames, AreTold) {
  for (const char* name :
       {"password", "PASSWORD_2", "primaryKey", "sasToken", "AZURE_CLIENT_SECRET", "connectionString",
        "connection-string", "api_key", "key1", "storageAccountKey", "X-Auth-Token", "PGPASSWORD"}) {
    EXPECT_TRUE(is_secret_name(name)) << name;
  }
  for (const char* name : {"image", "monkey", "disaster", "keyboard", "status", "digest", "startupOrder",
                           "memoryLimit", "tokenizerless", "workingDirectory", "hostname", "passive"}) {
    EXPECT_FALSE(is_secret_name(name)) << name;
  }
  EXPECT_TRUE(looks_secret("HostName=h;SharedAccessKey=abc="));
  EXPECT_TRUE(looks_secret("https://blob/x?sv=1&sig=abc"));
  EXPECT_FALSE(looks_secret("https://host:443/path?x=1"));
  EXPECT_FALSE(looks_secret("user@host"));
  EXPECT_FALSE(looks_secret("FROM /messages/* WHERE key = 'a' INTO $upstream"));
}

TEST(FindSecrets, SeesEncodedForms) {
  const std::vector<std::string> secrets = {"p@ss\"word", "abc"};
  EXPECT_THAT(find_secrets(R"(x p@ss\"word y)", secrets), testing::ElementsAre(0u));
  EXPECT_THAT(find_secrets("a=p%40ss%22word", secrets), testing::ElementsAre(0u));
  EXPECT_THAT(find_secrets("base64 " + to_base64(secrets[0]), secrets), testing::ElementsAre(0u));
  EXPECT_THAT(find_secrets("hex " + to_hex(secrets[0]), secrets), testing::ElementsAre(0u));
  EXPECT_TRUE(find_secrets("abc and nothing", secrets).empty());
}

}  // namespace
}  // namespace decklog::workload
