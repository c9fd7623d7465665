// The configuration file: what it means, what is refused and where, and that the example file tells the
// truth.
#include "services/config/config.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace decklog::config {
namespace {

constexpr const char* kDevice = "device = \"d\"\n";

std::string read_source(const std::string& path) {
  std::ifstream file(std::string(DECKLOG_SOURCE_DIR "/") + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Config, AFileWithANameOnlyHasItsDefaults) {
  const auto config = parse_config(kDevice, "c.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->device, "d");
  EXPECT_EQ(config->iothub_hostname, "d.decklog.local");
  EXPECT_EQ(config->uplink.kind, "local");
  EXPECT_EQ(config->uplink.directory, "/var/lib/decklog/uplink");
  EXPECT_EQ(config->agent.management_socket, "/run/decklog/agent.sock");
  EXPECT_EQ(config->hub.management_socket, "/run/decklog/hub.sock");
  // Nothing is open that was not asked for, and TLS is on.
  EXPECT_FALSE(config->agent.metrics);
  EXPECT_FALSE(config->hub.metrics);
  EXPECT_FALSE(config->hub.mqtt_plain);
  EXPECT_FALSE(config->hub.allow_anonymous);
  ASSERT_TRUE(config->hub.mqtt_tls);
  EXPECT_EQ(config->hub.mqtt_tls->port, 8883);
  EXPECT_TRUE(config->hub.topics.empty());
}

TEST(Config, PathsFollowTheirDirectories) {
  const auto config = parse_config("device = \"d\"\ndata_dir = \"/data\"\nrun_dir = \"/run/x\"\n", "c.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->uplink.directory, "/data/uplink");
  EXPECT_EQ(config->agent.management_socket, "/run/x/agent.sock");
  EXPECT_EQ(config->hub.management_socket, "/run/x/hub.sock");
}

TEST(Config, EndpointsSizesAndDurationsAreRead) {
  const auto config =
      parse_config(std::string(kDevice) +
                       "[agent]\nmetrics = \"[::1]:0\"\njournal_budget = 8388608\n"
                       "heartbeat = \"90s\"\n[hub]\nmqtt_tls = \"off\"\nstore_limit = \"2GiB\"\n",
                   "c.toml");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_TRUE(config->agent.metrics);
  EXPECT_EQ(config->agent.metrics->address, "::1");
  EXPECT_EQ(config->agent.journal_budget_bytes, 8u << 20);
  EXPECT_EQ(config->agent.heartbeat, std::chrono::seconds(90));
  EXPECT_FALSE(config->hub.mqtt_tls);
  EXPECT_EQ(config->hub.store_limit_bytes, 2ull << 30);
}

struct Wrong {
  const char* text;   // behind the device's name, which is line 1
  const char* where;  // line and key
  const char* why;
};

class Refused : public testing::TestWithParam<Wrong> {};

TEST_P(Refused, WithFileLineKeyAndReason) {
  const auto config = parse_config(std::string(kDevice) + GetParam().text, "c.toml");
  ASSERT_TRUE(config.has_error());
  EXPECT_EQ(config.error().where, std::string("c.toml:") + GetParam().where);
  EXPECT_NE(config.error().message.find(GetParam().why), std::string::npos) << config.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Files, Refused,
    testing::Values(
        Wrong{"[agents]\n", "2: agents", "unknown key"}, Wrong{"agent = 5\n", "2: agent", "must be a table"},
        Wrong{"[hub]\ntopics = 5\n", "3: hub.topics", "array of tables"},
        Wrong{"[hub]\ntopics = [5]\n", "3: hub.topics", "array of tables"},
        Wrong{"[agent]\ndocker = \"yes\"\n", "3: agent.docker", "true or false"},
        Wrong{"[agent]\nmetrics = \"127.0.0.1\"\n", "3: agent.metrics", "an IP address and a port"},
        Wrong{"[agent]\nmetrics = \"127.0.0.1:65536\"\n", "3: agent.metrics", "an IP address and a port"},
        Wrong{"[agent]\nmetrics = \"127.0.0.1:-1\"\n", "3: agent.metrics", "an IP address and a port"},
        Wrong{"[agent]\nmetrics = \":9600\"\n", "3: agent.metrics", "an IP address and a port"},
        Wrong{"[agent]\njournal_budget = \"4MB\"\n", "3: agent.journal_budget", "a size such as"},
        Wrong{"[agent]\njournal_budget = \"MiB\"\n", "3: agent.journal_budget", "a size such as"},
        Wrong{"[agent]\njournal_budget = -1\n", "3: agent.journal_budget", "must be a string"},
        Wrong{"[agent]\njournal_budget = \"99999999999GiB\"\n", "3: agent.journal_budget", "a size such as"},
        Wrong{"[agent]\nheartbeat = \"-5s\"\n", "3: agent.heartbeat", ""},
        Wrong{"[agent]\nheartbeat = \"1ms\"\n", "3: agent.heartbeat", "at least"},
        Wrong{"[hub]\nmax_clients = 0\n", "3: hub.max_clients", "from 1 to 1000000"},
        Wrong{"[hub]\nmax_clients = 1.5\n", "3: hub.max_clients", "from 1 to 1000000"},
        Wrong{"[hub]\ndurability = \"hope\"\n", "3: hub.durability", "power, process"},
        Wrong{"[hub]\nmqtt_plain = \"192.168.0.1:1883\"\n", "3: hub.mqtt_plain", "loopback"},
        Wrong{"[hub]\nserver_key_file = \"k\"\n", "3: hub.server_key_file", "hub.server_certificate_file"},
        Wrong{"edge_ca_certificate_file = \"c\"\n", "2: edge_ca_certificate_file", "edge_ca_key_file"},
        Wrong{"[uplink]\nuser = \"u\"\n", "3: uplink.user", "uplink.password_file"},
        Wrong{"[uplink]\nkey_file = \"k\"\n", "3: uplink.key_file", "uplink.certificate_file"},
        Wrong{"[uplink]\nbackoff_first = \"5s\"\nbackoff_cap = \"1s\"\n", "4: uplink.backoff_cap", "5s"},
        Wrong{"[uplink]\nurl = \"nats://\\u0000\"\n", "3: uplink.url", "NUL"},
        Wrong{"[[hub.topics]]\nfilter = \"#\"\n", "2: hub.topics.client", "missing"},
        Wrong{"[[hub.topics]]\nclient = \"*\"\n", "2: hub.topics.filter", "missing"},
        Wrong{"[[hub.topics]]\nclient = \"*\"\nfilter = \"a/#/b\"\n", "4: hub.topics.filter", "topic filter"},
        Wrong{"[[hub.topics]]\nclient = \"*\"\nfilter = \"a+\"\n", "4: hub.topics.filter", "topic filter"},
        Wrong{"[[hub.topics]]\nclient = \"*\"\nfilter = \"#\"\nretain = true\n", "5: hub.topics.retain",
              "unknown"},
        Wrong{"[[hub.users]]\nname = \"u\"\n", "2: hub.users.name", "both"},
        Wrong{"[[hub.users]]\nname = \"u\"\npassword_file = \"a\"\n[[hub.users]]\nname = \"u\"\n"
              "password_file = \"b\"\n",
              "6: hub.users.name", "another user"}));

TEST(Config, ADeviceNameMustFitIntoTopics) {
  const auto refusal = [](const std::string& name) {
    const auto config = parse_config("\ndevice = \"" + name + "\"\n", "c.toml");
    return config ? std::string() : config.error().where;
  };
  for (const char* name : {"edge-1", "line_3.cell:7@plant", "a", "x=y", "it's(1)"})
    EXPECT_EQ(refusal(name), "");
  EXPECT_EQ(refusal(std::string(128, 'n')), "");
  EXPECT_EQ(refusal(std::string(129, 'n')), "c.toml:2: device");
  // Separators and wildcards of topics, what ends or hides a line, other alphabets.
  for (const char* name : {"a#", "#", "+", "a+b", "a/b", "/", "a b", "a\\nb", "a\\u0000b", "a\\u0007",
                           "a\\u007f", "\\u00e9dge", "a\\\\b", "a\\\"b", "<a>"})
    EXPECT_EQ(refusal(name), "c.toml:2: device") << name;
}

TEST(Config, WhatIsNoTomlIsRefusedWithLineAndColumn) {
  const auto config = parse_config("device = \"d\"\n[agent\n", "c.toml");
  ASSERT_TRUE(config.has_error());
  EXPECT_EQ(config.error().code, Errc::kMalformed);
  EXPECT_TRUE(config.error().where.starts_with("c.toml:2")) << config.error().where;
}

TEST(Config, LettersOutsideAsciiWhereAKeyMayBeginAreRefused) {
  for (unsigned code = 0xA0; code < 0x800; ++code) {
    const std::string letter{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    for (const std::string& text : {letter + " = 1\n", kDevice + letter, "device = " + letter + "\n"})
      EXPECT_TRUE(parse_config(text, "c.toml").has_error()) << std::hex << code;
  }
}

TEST(Config, NoTextMakesItThrow) {
  rc::check([](const std::string& noise) { (void)parse_config(noise, "c.toml"); });
  rc::check([](const std::string& noise) { (void)parse_config("device = \"" + noise + "\"\n", "c.toml"); });
}

TEST(Config, AMissingFileIsNamed) {
  const auto config = load_config("/nowhere/c.toml");
  ASSERT_TRUE(config.has_error());
  EXPECT_EQ(config.error().code, Errc::kNotFound);
  EXPECT_EQ(config.error().where, "/nowhere/c.toml");
}

// The keys of the example file, as "section.key", whether commented out or not.
std::set<std::string> example_keys() {
  std::set<std::string> keys;
  std::istringstream lines(read_source("examples/config.toml"));
  const std::regex header(R"(^(?:# )?\[+([a-z.]+)\]+.*)");
  const std::regex setting(R"(^(?:# )?([a-z_]+) = .*)");
  std::string section;
  std::smatch found;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, found, header)) section = found[1].str() + ".";
    if (std::regex_match(line, found, setting)) keys.insert(section + found[1].str());
  }
  return keys;
}

TEST(ExampleFile, IsRead) {
  const auto config = parse_config(read_source("examples/config.toml"), "config.toml");
  EXPECT_TRUE(config) << config.error().where << ": " << config.error().message;
}

// Each key it shows is known to the reader, and none of the reader's keys is missing.
TEST(ExampleFile, ShowsEveryKeyAndNoOther) {
  const std::string source = read_source("services/config/config.cpp");
  const std::regex call(
      R"re((section|rule|user)\.(text|flag|number|bytes|duration|choice|endpoint)\("([a-z_]+)")re");
  const std::regex reader(R"(^(?:void|Config) read_([a-z]+)\(.*)");
  std::set<std::string> known;
  std::string function;
  std::istringstream lines(source);
  std::smatch found;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, found, reader)) function = found[1];
    if (!std::regex_search(line, found, call)) continue;
    const std::string owner = found[1];
    std::string section = owner == "rule" ? "hub.topics." : owner == "user" ? "hub.users." : function + ".";
    if (function == "config") section.clear();
    known.insert(section + found[3].str());
  }
  EXPECT_GT(known.size(), 40u);
  EXPECT_EQ(example_keys(), known);
}

}  // namespace
}  // namespace decklog::config
