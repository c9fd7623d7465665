// What whoever runs thousands of hubs meets: nothing to do for days, a full store, a clock without a battery.
#include <sys/mount.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

double metric(const HubRig& hub, const std::string& name) {
  const std::string page = hub.get("/metrics");
  const auto at = page.find("\n" + name + "{");
  if (at == std::string::npos) return -1;
  const auto value = page.find("} ", at);
  return std::stod(page.substr(value + 2));
}

// A file system of its own, so small that a file fills it.
class SmallDisk {
 public:
  SmallDisk() { mounted_ = ::mount("tmpfs", path().c_str(), "tmpfs", 0, "size=48m") == 0; }
  ~SmallDisk() {
    if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  std::string path() const { return directory_.path().string(); }
  void fill() const {
    std::ofstream out(path() + "/fill", std::ios::binary);
    const std::string block(1 << 16, 'f');
    while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void empty() const { std::filesystem::remove(path() + "/fill"); }

 private:
  decklog::test::TempDir directory_;
  bool mounted_ = false;
};

class Operator : public testing::Test {
 protected:
  void start(HubSetup setup) {
    hub_ = std::make_unique<HubRig>(std::move(setup));
    puppet_ = std::make_unique<Puppet>(hub_->folder());
    hub_->put_routes(R"("up":"FROM /messages/* INTO $upstream")");
    hub_->start();
  }
  void TearDown() override {
    if (!hub_) return;
    if (hub_->running()) hub_->conserved();
    hub_->stop();
    const auto [status, said] = run("replay --service hub");
    EXPECT_EQ(status, 0) << said;
  }
  // A verb of the command line: its exit status, and what it said.
  std::pair<int, std::string> run(const std::string& verb) const {
    const std::string said = hub_->folder() + "/said";
    const std::string command = std::string(DECKLOG_PROGRAM) + " --config " + hub_->config_file() + " ";
    const int status = std::system((command + verb + " > " + said + " 2>&1").c_str());
    std::ostringstream out;
    out << std::ifstream(said).rdbuf();
    return {status, out.str()};
  }
  std::unique_ptr<SmallDisk> disk_;  // outlives the hub whose data it holds
  std::unique_ptr<HubRig> hub_;
  std::unique_ptr<Puppet> puppet_;
};

TEST_F(Operator, AHubAtRestDoesNotFillItsLogAndListsWhatMatters) {
  start({});
  hub_->routes_applied();
  puppet_->start();
  hub_->enrol("leaf-1");
  ASSERT_TRUE(puppet_->call("mqtt", "leaf", hub_->plain_client("leaf-1")).ok);
  ASSERT_TRUE(eventually([&] { return hub_->client_state("leaf-1") == "connected"; }));
  const auto leaf = [&](const std::string& target) {
    return hub_->get(target).find("\"queue\":\"leaf-1\"") != std::string::npos;
  };
  EXPECT_FALSE(leaf("/v1/queues"));  // a kept session in which nothing waits
  EXPECT_TRUE(leaf("/v1/queues?all"));
  // The last report goes out and is written; then there are only pings, two a second.
  double events = -1;
  ASSERT_TRUE(eventually([&] {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    return std::exchange(events, metric(*hub_, "decklog_journal_events_total")) == events && events > 0;
  }));
  std::this_thread::sleep_for(std::chrono::seconds(3));
  EXPECT_EQ(metric(*hub_, "decklog_journal_events_total"), events);
  hub_->cut_uplink();
  EXPECT_TRUE(eventually([&] { return metric(*hub_, "decklog_journal_events_total") > events; }));
}

TEST_F(Operator, AMetricsPortThatIsTakenStopsNoMessages) {
  start({.hub = "metrics = \"127.0.0.1:8883\"\n"});  // the port of mqtts
  EXPECT_NE(hub_->log().find("hub.metrics"), std::string::npos) << hub_->log();
  EXPECT_TRUE(eventually([&] {
    return run("history --service hub --type remark").second.find("127.0.0.1:8883") != std::string::npos;
  }));
  hub_->routes_applied();
}

// Nobody has to know which of the two services has clients.
TEST_F(Operator, TheHistoryOfAClientIsReadWhereItIsKept) {
  start({});
  puppet_->start();
  hub_->enrol("leaf-1");
  ASSERT_TRUE(puppet_->call("mqtt", "leaf", hub_->plain_client("leaf-1")).ok);
  EXPECT_TRUE(eventually([&] {
    const auto [status, said] = run("history client/leaf-1");
    return status == 0 && said.find("authenticating -> connected") != std::string::npos;
  }));
}

TEST_F(Operator, AFullStoreRefusesSaysSoAndRecovers) {
  start({.hub = "store_limit = \"1MiB\"\n"});
  hub_->routes_applied();
  puppet_->start();
  hub_->enrol("leaf-1");
  auto client = hub_->plain_client("leaf-1", "", {{"reconnectPeriod", 1000}});
  ASSERT_TRUE(puppet_->call("mqtt", "leaf", client).ok);
  hub_->cut_uplink();
  const std::string body(200 * 1024, 'x');
  std::vector<std::uint64_t> sent;
  for (int i = 0; i < 8; ++i) {
    sent.push_back(puppet_->begin(
        "publish", "leaf",
        {{"topic", "devices/leaf-1/messages/events/"}, {"body", std::to_string(i) + body}, {"qos", 1}}));
  }
  ASSERT_TRUE(eventually([&] { return metric(*hub_, "edgehub_messages_unack_total") > 0; }))
      << hub_->get("/metrics");
  // Nobody else is disturbed.
  hub_->enrol(kDeviceId, "other");
  hub_->conserved();
  EXPECT_NE(hub_->get("/healthz").find("ok"), std::string::npos);
  // However often it comes back meanwhile, the log hears of it in sums.
  ASSERT_TRUE(eventually([&] { return metric(*hub_, "edgehub_messages_unack_total") >= 12; }));
  const std::string told = run("history client/leaf-1").second;
  const auto lines = std::count(told.begin(), told.end(), '\n');
  EXPECT_GT(lines, 4) << told;
  EXPECT_LE(lines, 20) << told;
  hub_->restore_uplink();
  for (const auto each : sent) EXPECT_TRUE(puppet_->answer(each).ok);
  std::set<char> arrived;
  EXPECT_TRUE(eventually([&] {
    for (const auto& record : hub_->telemetry()) arrived.insert(record.body.at(0));
    return arrived.size() == 8;
  })) << arrived.size();
  hub_->drained();
}

TEST_F(Operator, AFullDiskIsSaidAndOverWhenThereIsRoomAgain) {
  const SmallDisk& disk = *(disk_ = std::make_unique<SmallDisk>());
  ASSERT_TRUE(disk.mounted());
  start({.wrapper = disk.path()});
  hub_->routes_applied();
  puppet_->start();
  hub_->enrol("leaf-1");
  ASSERT_TRUE(
      puppet_->call("mqtt", "leaf", hub_->plain_client("leaf-1", "", {{"reconnectPeriod", 1000}})).ok);
  const auto ready = [&] { return hub_->get("/readyz").find("\"ok\"") != std::string::npos; };
  EXPECT_TRUE(ready());
  disk.fill();
  EXPECT_TRUE(
      eventually([&] { return hub_->get("/readyz").find("takes no messages") != std::string::npos; }));
  EXPECT_EQ(metric(*hub_, "decklog_hub_route_conservation_difference"), 0);
  const auto sent = puppet_->begin(
      "publish", "leaf", {{"topic", "devices/leaf-1/messages/events/"}, {"body", "kept"}, {"qos", 1}});
  EXPECT_TRUE(eventually([&] { return metric(*hub_, "edgehub_messages_unack_total") > 0; }));
  EXPECT_FALSE(puppet_->answered(sent));
  // A device that starts with a full disk starts all the same.
  hub_->kill();
  hub_->start();
  EXPECT_TRUE(eventually([&] { return !ready(); }));
  disk.empty();
  EXPECT_TRUE(eventually(ready));
  EXPECT_TRUE(puppet_->answer(sent).ok);
  EXPECT_EQ(hub_->wait_telemetry(1).at(0).body, "kept");
  hub_->drained();
}

// Made when the clock said 1970, the certificate would let nobody in for ever.
TEST_F(Operator, ACertificateFromBeforeTheClockWasSetIsMadeAnew) {
  decklog::test::TempDir directory;
  const std::string file = directory.path("clock");
  const auto set_clock = [&](std::int64_t offset) {
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    if (!out) out.open(file, std::ios::binary | std::ios::out);
    out.write(reinterpret_cast<const char*>(&offset), sizeof offset);
  };
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  set_clock(-now + 1'000'000'000ll);  // the first seconds of 1970
  const char* options = std::getenv("ASAN_OPTIONS");
  const std::string before = options ? options : "";
  ::setenv("DECKLOG_TEST_CLOCK", file.c_str(), 1);
  ::setenv("LD_PRELOAD", DECKLOG_CLOCK_SHIM, 1);
  ::setenv("ASAN_OPTIONS", (before + (before.empty() ? "" : ":") + "verify_asan_link_order=0").c_str(), 1);
  start({});
  ::unsetenv("LD_PRELOAD");
  before.empty() ? ::unsetenv("ASAN_OPTIONS") : ::setenv("ASAN_OPTIONS", before.c_str(), 1);
  puppet_->start();
  hub_->enrol("leaf-1");
  EXPECT_FALSE(puppet_->call("mqtt", "early", hub_->plain_client("leaf-1")).ok);  // it sees the real time
  set_clock(0);
  EXPECT_TRUE(eventually([&] { return puppet_->call("mqtt", "late", hub_->plain_client("leaf-1")).ok; }))
      << hub_->log();
}

}  // namespace
}  // namespace decklog::hub::test
