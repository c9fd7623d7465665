// The development broker as a process: real clients from Debian, and SIGKILL at any moment.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "tests/services/broker/mqtt_client.hpp"

namespace decklog::broker::test {
namespace {

using mqtt::PacketType;

// A child with its output in a pipe; killed with the object.
class Child final {
 public:
  explicit Child(const std::vector<std::string>& command) {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(pipe[1], 1);
      std::vector<char*> arguments;
      for (const auto& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
      arguments.push_back(nullptr);
      ::execvp(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(pipe[1]);
    output_ = pipe[0];
  }
  ~Child() {
    kill(SIGKILL);
    ::close(output_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  std::string line(int deadline_ms = 30'000) {
    std::string text;
    while (true) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        text = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return text;
      }
      pollfd wait{output_, POLLIN, 0};
      std::array<char, 4096> bytes{};
      if (::poll(&wait, 1, deadline_ms) <= 0) return "";
      const auto n = ::read(output_, bytes.data(), bytes.size());
      if (n <= 0) return "";
      buffer_.append(bytes.data(), static_cast<std::size_t>(n));
    }
  }
  int kill(int signal) {
    if (pid_ <= 0) return status_;
    ::kill(pid_, signal);
    return wait();
  }
  int wait() {
    if (pid_ > 0) ::waitpid(pid_, &status_, 0);
    pid_ = 0;
    return status_;
  }

 private:
  pid_t pid_ = 0;
  int output_ = -1;
  int status_ = 0;
  std::string buffer_;
};

class KillTest : public testing::Test {
 protected:
  KillTest() {
    std::string pattern = testing::TempDir() + "decklog-broker-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~KillTest() override {
    broker_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    broker_ = std::make_unique<Child>(std::vector<std::string>{DECKLOG_BROKER_TOOL, directory_ + "/mqtt"});
    unsigned port = 0;
    unsigned web = 0;
    const auto ready = broker_->line();
    ASSERT_EQ(std::sscanf(ready.c_str(), "ready %u %u", &port, &web), 2) << ready;
    port_ = static_cast<std::uint16_t>(port);
  }
  void crash() {
    broker_->kill(SIGKILL);
    start();
  }
  std::vector<std::string> tool(const char* name, const std::vector<std::string>& more) {
    std::vector<std::string> command{name, "-h", "127.0.0.1", "-p", std::to_string(port_)};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  std::string directory_;
  std::unique_ptr<Child> broker_;
  std::uint16_t port_ = 0;
};

TEST_F(KillTest, MosquittoClientsTalkThroughIt) {
  start();
  for (const auto* qos : {"0", "1", "2"}) {
    const auto topic = std::string("room/") + qos;
    EXPECT_EQ(Child(tool("mosquitto_pub", {"-t", topic, "-q", qos, "-m", "kept", "-r"})).wait(), 0);
    Child reader(
        tool("mosquitto_sub", {"-t", "room/" + std::string(qos), "-q", qos, "-v", "-C", "2", "-W", "30"}));
    EXPECT_EQ(reader.line(), topic + " kept");
    EXPECT_EQ(Child(tool("mosquitto_pub", {"-t", topic, "-q", qos, "-m", "live"})).wait(), 0);
    EXPECT_EQ(reader.line(), topic + " live");
    EXPECT_EQ(reader.wait(), 0);
  }
}

TEST_F(KillTest, StopsCleanly) {
  start();
  auto c = connected(port_, "c");
  EXPECT_EQ(broker_->kill(SIGTERM), 0);
  EXPECT_TRUE(c.closes_gracefully());
}

// Publishers at QoS 1 with a window, a parked subscriber, SIGKILL whenever: nothing acknowledged is lost,
// order stays.
TEST_F(KillTest, NothingAcknowledgedIsLost) {
  start();
  {
    auto parked = connected(port_, "parked", false);
    EXPECT_EQ(parked.subscribe("load/#", 1), std::string(1, '\1'));
    parked.disconnect();
    EXPECT_TRUE(parked.closes_gracefully());
  }
  std::vector<int> acknowledged;
  int next = 1;
  for (int round = 0; round < 5; ++round) {
    auto writer = connected(port_, "writer");
    const int first = next;
    for (int i = 0; i < 200; ++i, ++next) {
      writer.publish("load/x", std::to_string(next), 1, static_cast<std::uint16_t>(next - first + 1));
    }
    const int wanted = 20 + round * 35;
    for (int i = 0; i < wanted; ++i) {
      acknowledged.push_back(first + writer.expect(PacketType::kPuback).id - 1);
    }
    crash();
  }
  auto reader = connected(port_, "parked", false);
  std::set<int> came;
  int last = 0;
  while (came.empty() || !std::includes(came.begin(), came.end(), acknowledged.begin(), acknowledged.end())) {
    const auto m = reader.next();
    ASSERT_TRUE(m) << came.size() << " of " << acknowledged.size();
    const int number = std::stoi(m->payload);
    EXPECT_GT(number, last);
    last = number;
    came.insert(number);
    reader.ack(PacketType::kPuback, m->id);
  }
}

TEST_F(KillTest, QosTwoIsExactlyOnceOverSigkill) {
  start();
  {
    auto reader = connected(port_, "reader", false);
    reader.subscribe("q", 2);
  }
  std::uint16_t id = 1;
  MqttClient writer(port_);
  EXPECT_FALSE(writer.connect({.id = "writer", .clean = false}).session_present);
  for (int round = 0; round < 4; ++round) {
    const auto payload = std::to_string(round);
    writer.publish("q", payload, 2, id);
    if (round % 2 == 0) {
      EXPECT_EQ(writer.expect(PacketType::kPubrec).id, id);
    }
    crash();
    writer = MqttClient(port_);
    EXPECT_TRUE(writer.connect({.id = "writer", .clean = false}).session_present);
    writer.publish("q", payload, 2, id, false, true);
    EXPECT_EQ(writer.expect(PacketType::kPubrec).id, id);
    writer.ack(PacketType::kPubrel, id);
    EXPECT_EQ(writer.expect(PacketType::kPubcomp).id, id);
  }
  MqttClient reader(port_);
  EXPECT_TRUE(reader.connect({.id = "reader", .clean = false}).session_present);
  std::vector<std::uint16_t> ids;
  for (int round = 0; round < 4; ++round) ids.push_back(reader.expect_publish("q", std::to_string(round)).id);
  for (const auto each : ids) {
    reader.ack(PacketType::kPubrec, each);
    EXPECT_EQ(reader.expect(PacketType::kPubrel).id, each);
    reader.ack(PacketType::kPubcomp, each);
  }
  reader.expect_silence();
}

}  // namespace
}  // namespace decklog::broker::test
