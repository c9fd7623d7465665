// A device that is not as its configuration has it: what does not fit is said, and everything else goes on.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/agent_under_test.hpp"

namespace decklog::e2e {
namespace {

// A port of the loopback that somebody else has.
class TakenPort final {
 public:
  TakenPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, 1), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    number_ = ntohs(address.sin_port);
  }
  ~TakenPort() { ::close(socket_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  std::string text() const { return "127.0.0.1:" + std::to_string(number_); }

 private:
  int socket_;
  int number_ = 0;
};

TEST(Misfit, AMetricsPortOfSomebodyElseStopsNoSupervision) {
  const TakenPort taken;
  AgentSetup setup;
  setup.agent += "metrics = \"" + taken.text() + "\"\n";
  AgentUnderTest agent(setup);
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module("steady", "exec sleep 600"))).status, 0);
  EXPECT_TRUE(agent.becomes("steady", "running")) << agent.describe();
  EXPECT_NE(agent.log().find("agent.metrics"), std::string::npos) << agent.log();
  EXPECT_NE(agent.cli({"history", "--type", "remark"}).out.find(taken.text()), std::string::npos);
  EXPECT_EQ(agent.stop(), 0);
  expect_sound_log(agent);
}

TEST(Misfit, ATokenThatIsNotThereKeepsTheLinkDownAndNothingElse) {
  AgentSetup setup;
  setup.uplink = "kind = \"nats\"\nurl = \"nats://127.0.0.1:1\"\ntoken_file = \"/nonexistent/token\"\n";
  AgentUnderTest agent(setup);
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module("steady", "exec sleep 600"))).status, 0);
  EXPECT_TRUE(agent.becomes("steady", "running")) << agent.describe();
  EXPECT_NE(agent.log().find("/nonexistent/token: cannot be read"), std::string::npos) << agent.log();
  EXPECT_EQ(agent.stop(), 0);
  expect_sound_log(agent);
}

TEST(Misfit, AModuleWithAUserOfItsOwnRunsInItsDirectory) {
  if (::geteuid() != 0) return;  // only root becomes somebody else
  AgentUnderTest agent;
  // What leads to the data is open in a real installation.
  ASSERT_EQ(run({"chmod", "711", agent.folder()}).status, 0);
  agent.start();
  const std::string module =
      R"("mine":{"type":"process","settings":{"user":"nobody","command":["/bin/sh","-c",)"
      R"("id -un; touch here && echo written; exec sleep 600"]}})";
  ASSERT_EQ(agent.apply(deployment(module)).status, 0);
  EXPECT_TRUE(agent.becomes("mine", "running")) << agent.describe();
  EXPECT_TRUE(eventually([&] {
    return agent.cli({"logs", "mine"}).out == "nobody\nwritten\n";
  })) << agent.cli({"logs", "mine"}).text();
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

TEST(Misfit, AModuleMayBeCalledLikeAMemberOfTheDocument) {
  AgentUnderTest agent;
  agent.start();
  for (const char* name : {"env", "settings", "command"}) {
    const Outcome outcome = agent.apply(deployment(process_module(name, "exec sleep 600")));
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    EXPECT_TRUE(agent.becomes(name, "running")) << agent.describe();
  }
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

TEST(Misfit, APatternThatTakesForeverToMatchTakesNobodysTime) {
  AgentUnderTest agent;
  agent.start();
  ASSERT_EQ(agent.apply(deployment(process_module(std::string(60, 'a'), "exec sleep 600"))).status, 0);
  ASSERT_TRUE(agent.becomes(std::string(60, 'a'), "running")) << agent.describe();
  const Outcome outcome = agent.cli({"fleet", "call", "GetModuleLogs", R"({"items":[{"id":"(a*)*b"}]})"});
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_NE(outcome.out.find(R"("status":200)"), std::string::npos) << outcome.text();
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

TEST(Misfit, ARefusedDocumentIsRefusedByPlanToo) {
  AgentUnderTest agent;
  agent.start();
  for (const char* text : {"", "{}", "{", R"({"schemaVersion":"9.0"})"}) {
    EXPECT_EQ(agent.cli({"plan", "-"}, text).status, 3) << text;
    EXPECT_EQ(agent.cli({"apply", "-"}, text).status, 3) << text;
  }
  const std::string huge(17 << 20, ' ');
  EXPECT_EQ(agent.cli({"plan", "-"}, huge).status, 3);
  EXPECT_EQ(agent.cli({"apply", "-"}, huge).status, 3);
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

}  // namespace
}  // namespace decklog::e2e
