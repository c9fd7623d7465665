// Acknowledged and lost: publishers with a window at QoS 1, a parked module with a durable subscription, and
// an end that comes at any instant: SIGKILL, or the power of the disk. What was acknowledged arrives, at the
// parked module by its route and upstream by another, each publisher's messages in order; the control, which
// does not wait for the disk, loses.
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "services/iothub/credentials.hpp"
#include "tests/services/broker/mqtt_client.hpp"
#include "tests/services/hub/hub_test.hpp"
#include "tests/support/power_disk.hpp"

namespace decklog::hub::test {
namespace {

using broker::test::MqttClient;
using mqtt::PacketType;

constexpr std::uint16_t kPort = 1883;
constexpr int kWindow = 40;
constexpr const char* kRoutes =
    R"~("parked":"FROM /messages/* INTO BrokeredEndpoint(\"/modules/parked/inputs/in\")","up":"FROM /messages/* INTO $upstream")~";

MqttClient connect_as(const std::string& module, bool& there) {
  MqttClient client(kPort);
  broker::test::ConnectOptions options;
  options.id = kDeviceId + "/" + module;
  options.clean = false;
  options.username = kHost + "/" + options.id + "/?api-version=2021-04-12";
  options.password =
      iothub::make_sas_token(kHost + "/devices/" + kDeviceId + "/modules/" + module, kKey, 4'000'000'000);
  there = client.connect(options).code == 0;
  return client;
}

// Publishes numbers without end, a window ahead of the answers, until the hub is gone.
class Publisher final {
 public:
  explicit Publisher(std::string name) : name_(std::move(name)) {}

  void run() {
    bool there = false;
    auto client = connect_as(name_, there);
    if (!there) return;
    const std::string topic = "devices/" + kDeviceId + "/modules/" + name_ + "/messages/events/";
    // What had no answer is sent again, as clients do.
    const std::uint64_t first = acknowledged_ + 1;
    std::uint64_t next = first;
    while (true) {
      for (; next < acknowledged_ + 1 + kWindow; ++next)
        client.publish(topic, std::to_string(next), 1, static_cast<std::uint16_t>(next - first + 1));
      const auto answer = client.next(30'000);
      if (!answer) return;
      if (answer->type == PacketType::kPuback) ++acknowledged_;  // in order
    }
  }
  const std::string& name() const { return name_; }
  std::uint64_t acknowledged() const { return acknowledged_; }

 private:
  std::string name_;
  std::uint64_t acknowledged_ = 0;
};

class Loss : public testing::Test {
 protected:
  void open(HubSetup setup) {
    setup.hub += "mqtt_plain = \"127.0.0.1:1883\"\n";
    hub_ = std::make_unique<HubRig>(std::move(setup));
    for (const char* module : {"one", "two", "parked"}) hub_->enrol(kDeviceId, module);
    hub_->put_routes(kRoutes);
    hub_->start();
    hub_->routes_applied();
    bool there = false;
    auto parked = connect_as("parked", there);
    ASSERT_TRUE(there) << hub_->log();
    ASSERT_EQ(parked.subscribe("devices/edge-1/modules/parked/inputs/#", 1), std::string(1, '\1'));
    parked.disconnect();
    EXPECT_TRUE(parked.closes_gracefully());
  }
  // Both publish until `end` made an end.
  void round(const std::function<void()>& end) {
    std::vector<std::thread> threads;
    for (auto& publisher : publishers_) threads.emplace_back([&publisher] { publisher.run(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(150 + random_() % 350));
    end();
    for (auto& thread : threads) thread.join();
  }
  // Numbers by publisher as the parked module gets them, repeats left out.
  void parked_gets_everything() {
    bool there = false;
    auto parked = connect_as("parked", there);
    ASSERT_TRUE(there);
    std::map<std::string, std::uint64_t> last;
    const auto missing = [&] {
      return std::any_of(publishers_.begin(), publishers_.end(),
                         [&](const Publisher& each) { return last[each.name()] < each.acknowledged(); });
    };
    while (missing()) {
      const auto got = parked.next(60'000);
      ASSERT_TRUE(got) << "one: " << last["one"] << " of " << publishers_[0].acknowledged()
                       << ", two: " << last["two"] << " of " << publishers_[1].acknowledged() << "\n"
                       << hub_->get("/v1/queues");
      if (got->type != PacketType::kPublish) continue;
      const std::string from = got->topic.find("%24.cmid=one") != std::string::npos ? "one" : "two";
      const std::uint64_t number = std::stoull(got->payload);
      ASSERT_LE(number, last[from] + 1) << "lost or out of order, from " << from;
      last[from] = std::max(last[from], number);
      parked.ack(PacketType::kPuback, got->id);
    }
  }
  std::uint64_t lost_upstream(std::chrono::milliseconds patience = kPatience) {
    std::map<std::string, std::set<std::uint64_t>> there;
    const auto lost = [&] {
      for (const auto& record : hub_->telemetry()) there[record.module].insert(std::stoull(record.body));
      std::uint64_t count = 0;
      for (const auto& each : publishers_) {
        for (std::uint64_t i = 1; i <= each.acknowledged(); ++i)
          count += there[each.name()].contains(i) ? 0 : 1;
      }
      return count;
    };
    std::uint64_t count = 0;
    (void)eventually([&] { return (count = lost()) == 0; }, patience);
    return count;
  }

  std::unique_ptr<HubRig> hub_;
  std::mt19937 random_{20'260'101};
  std::vector<Publisher> publishers_{Publisher("one"), Publisher("two")};
};

TEST_F(Loss, NothingAcknowledgedInTwentyKills) {
  open({});
  for (int i = 0; i < 20 && !HasFailure(); ++i) {
    round([this] { hub_->kill(); });
    hub_->start();
    hub_->conserved();
  }
  EXPECT_GT(publishers_[0].acknowledged(), 100u) << "the publishers never got going";
  parked_gets_everything();
  EXPECT_EQ(lost_upstream(), 0u);
  hub_->conserved();  // what was taken and not acknowledged may still wait
}

class PowerLoss : public Loss {
 protected:
  void open_on_disk(const std::string& durability) {
    disk_ = std::make_unique<fixture::PowerDisk>(folder_.path(), off_t{256} << 20);
    ASSERT_TRUE(disk_->ready()) << "this test mounts a loop device and runs as root";
    open({.hub = "durability = \"" + durability + "\"\n", .wrapper = disk_->path()});
  }
  void TearDown() override { hub_.reset(); }  // before the disk goes
  void cut() {
    EXPECT_TRUE(disk_->cut()) << std::strerror(errno);
    hub_->kill();
    disk_->off();
    ASSERT_TRUE(disk_->on());
  }

  decklog::test::TempDir folder_;
  std::unique_ptr<fixture::PowerDisk> disk_;
};

TEST_F(PowerLoss, NothingAcknowledgedInPowerCuts) {
  open_on_disk("power");
  const int cuts = std::getenv("DECKLOG_CRASH_FULL") ? 20 : 8;
  for (int i = 0; i < cuts && !HasFailure(); ++i) {
    round([this] { cut(); });
    hub_->start();
    hub_->conserved();
  }
  EXPECT_GT(publishers_[0].acknowledged(), 20u);
  parked_gets_everything();
  EXPECT_EQ(lost_upstream(), 0u);
  hub_->conserved();  // what was taken and not acknowledged may still wait
}

// The same, acknowledged before it is on disk. Without an uplink, so that nothing escapes before the cut.
TEST_F(PowerLoss, WithoutSyncsTheSameCutLoses) {
  open_on_disk("process");
  hub_->cut_uplink();
  round([this] { cut(); });
  hub_->start();
  hub_->restore_uplink();
  EXPECT_GT(publishers_[0].acknowledged(), 0u);
  EXPECT_GT(lost_upstream(std::chrono::seconds(5)), 0u) << "the power cut of these tests does not cut";
}

}  // namespace
}  // namespace decklog::hub::test
