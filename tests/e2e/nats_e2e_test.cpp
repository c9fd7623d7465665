// The agent with a real nats-server as its fleet: documents come, reports go, and the server dies, forgets,
// refuses.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/e2e/agent_under_test.hpp"
#include "tests/support/nats_server.hpp"

namespace decklog::e2e {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;

std::string nats_lines(const test::NatsServer& server, const std::string& more = {}) {
  return "kind = \"nats\"\nurl = \"" + server.url() +
         "\"\nping_every = \"500ms\"\nbackoff_first = \"200ms\"\nbackoff_cap = \"1s\"\nstable_after = "
         "\"1s\"\n" +
         more;
}

class NatsFleet : public testing::Test {
 protected:
  void connect(const std::string& more = {}) {
    server_.start();
    agent_.reconfigure({.uplink = nats_lines(server_, more)});
    ASSERT_TRUE(init());
    agent_.start();
    ASSERT_TRUE(link_becomes("connected")) << agent_.describe();
  }
  bool init() {
    return eventually([&] { return agent_.cli({"fleet", "init"}).status == 0; }, 20s);
  }
  bool link_becomes(const std::string& state) {
    return eventually([&] {
      const auto status = agent_.ask("/v1/status");
      return status.is_object() && status.at("uplink") == json::value(state);
    });
  }
  // Puts it as the fleet does.
  void desire(const std::string& document) {
    const Outcome put = agent_.cli({"fleet", "desired", "--put", "-"}, document);
    ASSERT_EQ(put.status, 0) << put.text();
  }
  json::value reported() {
    const Outcome told = agent_.cli({"fleet", "reported"});
    json::error_code failed;
    auto value = json::parse(told.out, failed);
    return told.status != 0 || failed ? json::value() : value;
  }
  bool reports(const std::function<bool(const json::value&)>& condition) {
    return eventually([&] {
      const auto document = reported();
      return document.is_object() && condition(document);
    });
  }
  bool reports(const std::string& module, const std::string& status) {
    return reports([&](const json::value& document) -> bool {
      const auto* found = document.at("modules").as_object().if_contains(module);
      return found && found->at("runtimeStatus") == json::value(status);
    });
  }

  test::NatsServer server_;
  AgentUnderTest agent_;
};

std::string sleeper(const std::string& name, const std::string& more = R"("restartPolicy":"always")") {
  return process_module(name, "exec sleep 100000", more);
}

TEST_F(NatsFleet, ADesiredChangeIsAppliedAndReportedInStep) {
  connect();
  desire(deployment(sleeper("one")));
  ASSERT_TRUE(reports([](const json::value& document) {
    return document.at("deployment").at("state") == "applied";
  })) << agent_.describe();
  const auto first = reported();
  EXPECT_EQ(first.at("lastDesiredStatus").at("code"), 200);
  EXPECT_EQ(first.at("modules").at("one").at("runtimeStatus"), "running");
  const auto version = first.at("lastDesiredVersion").to_number<std::uint64_t>();
  desire(deployment(sleeper("one") + "," + sleeper("two")));
  ASSERT_TRUE(reports("two", "running")) << agent_.describe();
  const auto second = reported();
  EXPECT_GT(second.at("lastDesiredVersion").to_number<std::uint64_t>(), version);
  EXPECT_GT(second.at("decklog").at("sequence").to_number<std::uint64_t>(),
            first.at("decklog").at("sequence").to_number<std::uint64_t>());
  // What the fleet reads is what folding the log up to there gives.
  const auto at = second.at("decklog").at("sequence").to_number<std::uint64_t>();
  EXPECT_EQ(agent_.json({"state", "--at", std::to_string(at)}).at("modules"), second.at("modules"));
  desire(R"({"schemaVersion":"1.1","modules":{"x":{}}})");
  ASSERT_TRUE(reports(
      [](const json::value& document) { return document.at("lastDesiredStatus").at("code") == 400; }));
  EXPECT_TRUE(reports("two", "running"));
  const Outcome ping = agent_.cli({"fleet", "call", "ping"});
  EXPECT_NE(ping.out.find("\"status\":200"), std::string::npos) << ping.text();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  EXPECT_EQ(reported().at("lastDesiredStatus").at("code"), 406);
  expect_sound_log(agent_);
}

TEST_F(NatsFleet, SupervisesWhileTheServerIsAwayAndCatchesUp) {
  connect();
  desire(deployment(
      sleeper("one", R"("restartPolicy":"always","restart":{"backoffFirstSecs":0.5,"backoffCapSecs":1})")));
  ASSERT_TRUE(reports("one", "running")) << agent_.describe();
  ASSERT_TRUE(agent_.becomes("one", "running")) << "starting is reported as running, too";
  const auto before = reported().at("decklog").at("sequence").to_number<std::uint64_t>();
  server_.kill();
  ASSERT_TRUE(link_becomes("backing-off")) << agent_.describe();
  const auto back_at = std::chrono::steady_clock::now() + 45s;
  int restarts = 0;
  for (; restarts < 3; ++restarts) {
    const std::string id = agent_.module("one").at("runtimeId").as_string().c_str();
    ASSERT_EQ(::kill(std::stoi(id), SIGKILL), 0);
    ASSERT_TRUE(eventually([&] {
      const auto now = agent_.module("one");
      const auto& run = now.at("runtimeId").as_string();
      return now.at("state") == "running" && !run.empty() && run != id;
    })) << agent_.describe();
  }
  // A deployment by hand meanwhile; the fleet hears of it later.
  ASSERT_EQ(agent_.apply(deployment(sleeper("one") + "," + sleeper("local"))).status, 0);
  ASSERT_TRUE(agent_.becomes("local", "running")) << agent_.describe();
  std::this_thread::sleep_until(back_at);
  server_.start();
  ASSERT_TRUE(link_becomes("connected")) << agent_.describe();
  ASSERT_TRUE(reports([&](const json::value& document) {
    return document.at("decklog").at("sequence").to_number<std::uint64_t>() > before &&
           document.at("modules").as_object().contains("one");
  })) << agent_.describe();
  EXPECT_TRUE(reports([](const json::value& document) {
    const auto& one = document.at("modules").at("one").as_object();
    return one.at("runtimeStatus") == "running" && one.contains("lastExitTimeUtc");
  })) << "when it ended last is told while it runs again";
  // The link still works both ways: the watch was set up again.
  desire(deployment(sleeper("one") + "," + sleeper("after")));
  ASSERT_TRUE(reports("after", "running")) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  expect_sound_log(agent_);
}

TEST_F(NatsFleet, PingsThatAreAnsweredAddNothingToTheLog) {
  connect();
  desire(deployment(sleeper("one")));
  ASSERT_TRUE(reports("one", "running")) << agent_.describe();
  const auto sequence = [&] { return agent_.ask("/v1/status").at("sequence").to_number<std::uint64_t>(); };
  // The last report goes out and is written, the link is found stable; then there are only two pings a
  // second.
  std::uint64_t before = 0;
  ASSERT_TRUE(eventually([&] {
    std::this_thread::sleep_for(2s);
    return std::exchange(before, sequence()) == sequence();
  })) << agent_.describe();
  std::this_thread::sleep_for(3s);
  EXPECT_EQ(sequence(), before) << agent_.describe();
  server_.stop_responding();
  EXPECT_TRUE(link_becomes("backing-off")) << agent_.describe();
  server_.respond_again();
  EXPECT_TRUE(link_becomes("connected")) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  expect_sound_log(agent_);
}

TEST_F(NatsFleet, BucketsMadeAnewAreFilledAndWatchedAgain) {
  connect();
  for (int i = 0; i < 3; ++i) desire(deployment(sleeper("one", R"("version":")" + std::to_string(i) + "\"")));
  ASSERT_TRUE(reports("one", "running")) << agent_.describe();
  server_.kill();
  fs::remove_all(server_.directory() + "/store");
  server_.start();
  ASSERT_TRUE(init());
  ASSERT_TRUE(link_becomes("connected")) << agent_.describe();
  ASSERT_TRUE(reports("one", "running")) << "reported again, though nothing changed\n" << agent_.describe();
  EXPECT_EQ(agent_.state("one"), "running") << "a fleet that forgot the document takes nothing away";
  // Revisions begin again below what the device has seen.
  desire(deployment(sleeper("one") + "," + sleeper("two")));
  ASSERT_TRUE(reports("two", "running")) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  expect_sound_log(agent_);
}

TEST_F(NatsFleet, WrongCredentialsAreAReadableStateUntilTheyAreRight) {
  const std::string password = "pw-of-the-fleet-77aa";
  server_.set_extra("authorization { users = [ { user: \"edge\", password: \"" + password + "\" } ] }");
  server_.start();
  write_file(agent_.path("password"), "not-it-4711\n");
  const std::string lines =
      nats_lines(server_, "user = \"edge\"\npassword_file = \"" + agent_.path("password") + "\"\n");
  agent_.reconfigure({.uplink = lines});
  agent_.start();
  ASSERT_TRUE(link_becomes("refused")) << agent_.describe();
  const Outcome history = agent_.cli({"history", "uplink"});
  EXPECT_NE(history.out.find("refused"), std::string::npos) << history.text();
  EXPECT_NE(history.out.find("auth"), std::string::npos) << history.text();
  EXPECT_EQ((history.text() + agent_.log()).find("not-it-4711"), std::string::npos);
  // Supervision needs no fleet.
  ASSERT_EQ(agent_.apply(deployment(sleeper("one"))).status, 0);
  ASSERT_TRUE(agent_.becomes("one", "running")) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  write_file(agent_.path("password"), password + "\n");
  ASSERT_TRUE(init());
  agent_.start();
  ASSERT_TRUE(link_becomes("connected")) << agent_.describe();
  ASSERT_TRUE(reports("one", "running")) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  expect_sound_log(agent_);
}

TEST_F(NatsFleet, TlsWithTheRightAuthorityOnly) {
  const std::string files = agent_.path("tls");
  fs::create_directory(files);
  test::make_tls_files(files);
  server_.set_extra("tls { cert_file: \"" + files + "/server.pem\", key_file: \"" + files +
                    "/server-key.pem\", ca_file: \"" + files + "/ca.pem\", verify: true }");
  const auto lines = [&](const std::string& ca) {
    return "ca_file = \"" + files + "/" + ca + "\"\ncertificate_file = \"" + files +
           "/client.pem\"\nkey_file = \"" + files + "/client-key.pem\"\n";
  };
  server_.start();
  agent_.reconfigure({.uplink = nats_lines(server_, lines("other-ca.pem"))});
  agent_.start();
  ASSERT_TRUE(eventually([&] {
    return agent_.cli({"history", "uplink"}).out.find("tls") != std::string::npos;
  })) << agent_.cli({"history", "uplink"}).text();
  EXPECT_NE(agent_.ask("/v1/status").at("uplink"), "connected");
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  agent_.reconfigure({.uplink = nats_lines(server_, lines("ca.pem"))});
  ASSERT_TRUE(init());
  agent_.start();
  ASSERT_TRUE(link_becomes("connected")) << agent_.describe();
  desire(deployment(sleeper("one")));
  ASSERT_TRUE(reports("one", "running")) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
}

}  // namespace
}  // namespace decklog::e2e
