// Garbage on every port, half-open connections, clients that never read, packets beyond every limit: refused
// or bounded, and nobody else is disturbed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <fstream>
#include <random>

#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

int dial(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

// True when the other side ends the connection in time.
bool closes(int fd) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  char bytes[4096];
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd wait{fd, POLLIN, 0};
    if (::poll(&wait, 1, 500) <= 0) continue;
    if (::recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0) return true;
  }
  return false;
}

std::size_t resident_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  }
  return 0;
}

class BadInput : public HubTest {
 protected:
  // Still there, and serves whoever behaves.
  void serves(const std::string& body) {
    const auto sensor = open(kDeviceId, "sensor");
    do_("send", sensor, {{"body", body}});
    do_("close", sensor);
    ASSERT_TRUE(eventually([&] {
      const auto records = hub_.telemetry();
      return !records.empty() && records.back().body == body;
    }));
  }
};

TEST_F(BadInput, GarbageOnEveryPort) {
  start();
  puppet_.start();
  std::mt19937 random(7);
  for (const std::uint16_t port : {std::uint16_t{8883}, std::uint16_t{443}}) {
    for (const std::size_t size : {1u, 5u, 300u, 70'000u}) {
      std::string bytes(size, '\0');
      for (auto& byte : bytes) byte = static_cast<char>(random());
      bytes[0] = static_cast<char>(size == 5 ? 0x16 : bytes[0] | 0x80);  // once it begins like TLS
      const int fd = dial(port);
      ASSERT_GE(fd, 0);
      (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ::shutdown(fd, SHUT_WR);
      EXPECT_TRUE(closes(fd)) << port << " " << size;
      ::close(fd);
    }
  }
  serves("after garbage");
}

TEST_F(BadInput, TenThousandHalfOpenConnectionsHoldNobodyUp) {
  constexpr int kConnections = 10'000;
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = std::max<rlim_t>(limit.rlim_cur, kConnections + 1'000);
  limit.rlim_max = std::max(limit.rlim_max, limit.rlim_cur);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0) << "holds ten thousand sockets";
  start();
  puppet_.start();
  const auto resident = open(kDeviceId, "resident");
  const std::size_t before = resident_kib(hub_.pid());
  std::vector<int> held;
  for (int i = 0; i < kConnections; ++i) {
    held.push_back(dial(i % 2 == 0 ? 8883 : 443));
    if (i % 1'000 == 0) do_("send", resident, {{"body", "meanwhile"}});
  }
  EXPECT_EQ(std::count(held.begin(), held.end(), -1), 0);
  do_("send", resident, {{"body", "still here"}});
  serves("beside them");
  EXPECT_TRUE(puppet_.events("disconnect", resident).empty());
  EXPECT_LT(resident_kib(hub_.pid()), before + 400'000);  // also under a sanitizer's quarantine
  for (const int fd : held) ::close(fd);
  serves("after them");
}

TEST_F(BadInput, PacketsBeyondTheLimitEndTheConnectionOfTheirSenderOnly) {
  start();
  puppet_.start();
  hub_.enrol(kDeviceId, "loud");
  ASSERT_TRUE(puppet_.call("mqtt", "loud", hub_.plain_client(kDeviceId, "loud")).ok);
  (void)puppet_.begin("publish", "loud",
                      {{"topic", "devices/edge-1/modules/loud/messages/events/"},
                       {"body", std::string(400'000, 'x')},
                       {"qos", 1}});
  EXPECT_EQ(puppet_.wait("closed", "loud").size(), 1u);
  ASSERT_TRUE(puppet_.call("mqtt", "odd", hub_.plain_client(kDeviceId, "loud")).ok);
  (void)puppet_.begin(
      "publish", "odd",
      {{"topic", "devices/edge-1/modules/loud/messages/events/a=%zz"}, {"body", "x"}, {"qos", 1}});
  EXPECT_EQ(puppet_.wait("closed", "odd").size(), 1u);  // not acknowledged: it would be lost
  serves("others go on");
  EXPECT_EQ(hub_.telemetry().size(), 1u);
}

// A module that subscribes and reads nothing: its messages wait on disk, not in memory, and hold up nobody.
TEST_F(BadInput, AClientThatNeverReads) {
  start(R"~("deaf":"FROM /messages/modules/loud/* INTO BrokeredEndpoint(\"/modules/deaf/inputs/in\")",)~"
        R"~("up":"FROM /messages/modules/sensor/* INTO $upstream")~");
  puppet_.start();
  hub_.enrol(kDeviceId, "deaf");
  Puppet deaf(hub_.folder());
  deaf.start();
  ASSERT_TRUE(deaf.call("mqtt", "deaf", hub_.plain_client(kDeviceId, "deaf")).ok);
  ASSERT_TRUE(
      deaf.call("subscribe", "deaf", {{"filter", "devices/edge-1/modules/deaf/inputs/#"}, {"qos", 1}}).ok);
  deaf.freeze();
  const auto loud = open(kDeviceId, "loud");
  const std::size_t before = resident_kib(hub_.pid());
  const std::string large(200'000, 'x');
  for (int i = 0; i < 100; ++i) do_("send", loud, {{"body", large}});
  EXPECT_LT(resident_kib(hub_.pid()), before + 400'000);  // also under a sanitizer's quarantine
  std::uint64_t waiting = 0;
  const auto all = hub_.queues();
  for (const auto& queue : all.at("queues").as_array()) {
    if (text(queue.at("queue")) == "deaf/in") waiting = queue.at("queued").to_number<std::uint64_t>();
  }
  EXPECT_EQ(waiting, 100u);
  serves("beside it");
}

}  // namespace
}  // namespace decklog::hub::test
