// The unmodified official Node SDK against the workload API: fromEnvironment, trust bundle, sign, and a TLS
// connect that only succeeds when trust bundle and server certificate fit.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>

#include <atomic>
#include <boost/json.hpp>
#include <boost/url.hpp>

#include "services/workload/peer_check.hpp"
#include "tests/services/workload/workload_fixture.hpp"

namespace decklog::workload {
namespace {

namespace json = boost::json;

struct Ended {
  int status = -1;
  std::string output;
};

// Runs node with exactly this environment and reads what it prints.
Ended run_node(const std::string& script, const std::map<std::string, std::string>& environment,
               std::atomic<pid_t>& child) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  std::vector<std::string> texts;
  for (const auto& [name, value] : environment) texts.push_back(name + "=" + value);
  std::vector<char*> variables;
  for (auto& text : texts) variables.push_back(text.data());
  variables.push_back(nullptr);
  std::string node = "node", path = script;
  char* arguments[] = {node.data(), path.data(), nullptr};
  pid_t pid = 0;
  EXPECT_EQ(::posix_spawnp(&pid, "node", &actions, nullptr, arguments, variables.data()), 0);
  child = pid;
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  Ended ended;
  char bytes[4096];
  for (ssize_t count = 0; (count = ::read(ends[0], bytes, sizeof(bytes))) > 0;)
    ended.output.append(bytes, static_cast<std::size_t>(count));
  ::close(ends[0]);
  ::waitpid(pid, &ended.status, 0);
  return ended;
}

// sr=..&sig=..&se=.. of a token; values still encoded.
std::map<std::string, std::string> token_fields(const std::string& token) {
  std::map<std::string, std::string> fields;
  const std::string prefix = "SharedAccessSignature ";
  EXPECT_TRUE(token.starts_with(prefix)) << token;
  for (const auto& field : boost::urls::params_encoded_view(std::string_view(token).substr(prefix.size()))) {
    fields[std::string(std::string_view(field.key))] = std::string(std::string_view(field.value));
  }
  return fields;
}

TEST(WorkloadSdk, AModuleOfTheOfficialSdkStartsSignsAndTrustsTheHub) {
  std::atomic<pid_t> child = 0;
  WorkloadDevice device(
      [&](const ModuleName&, const http::PeerCredentials& peer) { return descends_from(peer.pid, child); });
  const std::string hub_socket = device.add("edgeHub");
  const std::string socket = device.add("sensor-1");
  const auto identity = device.loop.call([&] { return *device.identities.find("sensor-1"); });
  const auto hub = device.loop.call([&] { return *device.identities.find("$edgeHub"); });
  auto environment =
      module_environment(device.names, ModuleName("sensor-1"), identity, socket, Inside::kProcess).variables;
  environment["PATH"] = std::getenv("PATH");
  environment["NODE_PATH"] = std::string(DECKLOG_BINARY_DIR) + "/node/node_modules";
  environment["TEST_HUB_SOCKET"] = hub_socket;
  environment["TEST_HUB_GENERATION"] = hub.generation_id;
  const auto ended = run_node(std::string(DECKLOG_SOURCE_DIR) + "/tests/services/workload/workload_probe.js",
                              environment, child);
  ASSERT_TRUE(WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0) << ended.output;

  const auto seen = json::parse(ended.output);
  EXPECT_EQ(seen.at("clientId"), "dev 1/sensor-1");
  EXPECT_THAT(std::string(seen.at("username").as_string()),
              testing::StartsWith("hub.example.net/dev 1/sensor-1/?api-version="));
  EXPECT_EQ(seen.at("topic"), "devices/dev 1/modules/sensor-1/messages/events/%24.on=out/");
  EXPECT_EQ(seen.at("stale"), 404);
  EXPECT_EQ(seen.at("modules").at("modules").at(0).at("name"), "sensor");

  auto fields = token_fields(std::string(seen.at("password").as_string()));
  EXPECT_EQ(fields["sr"], "hub.example.net%2Fdevices%2Fdev%201%2Fmodules%2Fsensor-1");
  const auto signature =
      hmac_sha256(from_base64(identity.keys.primary).value(), fields["sr"] + "\n" + fields["se"]);
  EXPECT_EQ(std::string(boost::urls::pct_string_view(fields["sig"]).decode()), to_base64(signature));
}

}  // namespace
}  // namespace decklog::workload
