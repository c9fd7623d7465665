// The example deployment with the example modules in C++, as a user runs it: the agent starts the hub and the
// modules as processes; readings flow by the example routes, also over a hub that was killed.
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

constexpr int kReadings = 60;

json::value example(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(std::string(DECKLOG_SOURCE_DIR) + "/examples/" + name).rdbuf();
  return json::parse(text.str());
}

class CppModules : public testing::Test {
 protected:
  // Modules outlive their agent: it takes them down before it goes itself.
  void TearDown() override {
    const char* nothing = R"({"schemaVersion":"1.1","modules":{}})";
    ASSERT_TRUE(hub_.fleet().put_desired({kDeviceId, "$edgeAgent"}, nothing, std::nullopt));
    EXPECT_TRUE(eventually([&] {
      const auto reported = hub_.fleet().get_reported({kDeviceId, "$edgeAgent"});
      if (!reported || reported->revision == 0 || hub_process() != 0) return false;
      return json::parse(reported->json).at("modules").as_object().empty();
    })) << hub_.log();
  }
  // The example's own words, but for where its programs are and how fast it goes.
  void deploy() {
    auto deployment = example("cpp-modules.json");
    auto& modules = deployment.at("modules").as_object();
    for (auto& [name, module] : modules) {
      auto& program = module.at("settings").at("command").at(0);
      const std::string path = text(program);
      program = std::string(DECKLOG_BINARY_DIR) + path.substr(path.rfind('/'));
    }
    auto& env = modules.at("sensor").at("env");
    env.at("PAUSE_MS").at("value") = "100";
    env.at("READINGS").at("value") = std::to_string(kReadings);
    const auto routes = json::serialize(example("hub-routes.json"));
    ASSERT_TRUE(hub_.fleet().put_desired({kDeviceId, "$edgeHub"}, routes, std::nullopt));
    ASSERT_TRUE(
        hub_.fleet().put_desired({kDeviceId, "$edgeAgent"}, json::serialize(deployment), std::nullopt));
    hub_.start_agent();
  }
  // Whoever listens at the hub's management socket; 0 = nobody.
  pid_t hub_process() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    (hub_.folder() + "/run/hub.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ucred peer{};
    socklen_t size = sizeof peer;
    const bool there = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                       ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    ::close(fd);
    return there ? peer.pid : 0;
  }
  // The numbers that arrived upstream from that module.
  std::set<std::int64_t> arrived(const std::string& module, const char* member) {
    std::set<std::int64_t> numbers;
    for (const auto& record : hub_.telemetry()) {
      if (record.module == module)
        numbers.insert(json::parse(record.body).at(member).to_number<std::int64_t>());
    }
    return numbers;
  }

  HubRig hub_;
};

TEST_F(CppModules, FromTheSensorByTheFilterUpstreamOverAKilledHub) {
  deploy();
  ASSERT_TRUE(eventually([&] { return arrived("sensor", "n").size() >= 3; })) << hub_.log();
  const pid_t hub = hub_process();
  ASSERT_GT(hub, 0);
  ASSERT_EQ(::kill(hub, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return hub_process() != 0 && hub_process() != hub; })) << hub_.log();
  std::set<std::int64_t> readings, high;
  for (int n = 1; n <= kReadings; ++n) {
    readings.insert(n);
    if (n % 10 > 7) high.insert(n);
  }
  EXPECT_TRUE(eventually([&] { return arrived("sensor", "n") == readings; })) << hub_.log();
  EXPECT_TRUE(eventually([&] { return arrived("filter", "alert") == high; })) << hub_.log();
  for (const auto& record : hub_.telemetry()) {
    using testing::Contains;
    using testing::Pair;
    EXPECT_EQ(record.output, record.module == "sensor" ? "readings" : "alerts");
    EXPECT_THAT(record.properties, Contains(Pair("$.ct", "application/json")));
    if (record.module == "sensor") continue;
    EXPECT_THAT(record.properties, Contains(Pair("measured by", "sensor")));
  }
  hub_.drained();
}

}  // namespace
}  // namespace decklog::hub::test
