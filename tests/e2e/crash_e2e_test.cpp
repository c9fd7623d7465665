// The agent killed by SIGKILL at the n-th sync of one of its threads, in the middle of deployments, ends and
// starts. The next run goes on from the log: nothing lost, nothing twice, nothing backwards.
// DECKLOG_CRASH_ALL=1 kills at every n from 1 to 200. Needs strace.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <numeric>

#include "tests/e2e/agent_under_test.hpp"

namespace decklog::e2e {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

// Reads the fleet's copy as fast as it changes and holds it to (epoch, sequence) never going back.
class FleetWatch final {
 public:
  explicit FleetWatch(const AgentUnderTest& agent) : thread_([this, &agent] { watch(agent); }) {}
  ~FleetWatch() {
    over_ = true;
    thread_.join();
  }
  std::string finding() {
    const std::lock_guard lock(mutex_);
    return finding_;
  }
  std::size_t documents() const { return documents_; }

 private:
  void watch(const AgentUnderTest& agent) {
    std::uint64_t epoch = 0, last = 0;
    while (!over_) {
      std::this_thread::sleep_for(3ms);
      const auto document = agent.reported();
      if (!document.is_object()) continue;
      const auto& mark = document.at("decklog");
      const auto its_epoch = mark.at("epoch").to_number<std::uint64_t>();
      const auto its_sequence = mark.at("sequence").to_number<std::uint64_t>();
      const std::lock_guard lock(mutex_);
      if (epoch != 0 && its_epoch != epoch) finding_ = "another epoch";
      if (its_sequence < last)
        finding_ = "sequence " + std::to_string(its_sequence) + " after " + std::to_string(last);
      documents_ += its_sequence != last;
      epoch = its_epoch;
      last = its_sequence;
    }
  }

  std::atomic<bool> over_ = false;
  std::atomic<std::size_t> documents_ = 0;
  std::mutex mutex_;
  std::string finding_;
  std::thread thread_;
};

// `steady` is the same in every document, `ticker` ends and comes back all the time, `guest` comes and goes.
std::string document(unsigned round) {
  const std::string version = R"("version":")" + std::to_string(round) + "\"";
  std::string modules =
      process_module("steady", "echo $$ >>starts; exec sleep 100000",
                     R"("restartPolicy":"always",)" + version) +
      "," +
      process_module("ticker", "exit 1",
                     R"("restartPolicy":"always","restart":{"backoffFirstSecs":0.1,"backoffCapSecs":0.1})");
  if (round % 4 == 1) modules += "," + process_module("guest", "exec sleep 100000");
  return deployment(modules);
}

std::string last_document() {
  return deployment(process_module("steady", "echo $$ >>starts; exec sleep 100000",
                                   R"("restartPolicy":"always","version":"last")"));
}

void live_until_killed(AgentUnderTest& agent, unsigned n) {
  agent.start({"strace", "-f", "-b", "execve", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e",
               "inject=fsync,fdatasync:signal=KILL:when=" + std::to_string(n)});
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (unsigned round = 0; agent.running(); ++round) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "never reached sync " << n << agent.describe();
    (void)agent.post("/v1/desired", document(round));
  }
}

// What the fleet holds, and what folding the log up to there gives.
void expect_projection_is_the_fold(const AgentUnderTest& agent) {
  const auto reported = agent.reported();
  ASSERT_TRUE(reported.is_object());
  const auto at = reported.at("decklog").at("sequence").to_number<std::uint64_t>();
  const auto folded = agent.json({"state", "--at", std::to_string(at)});
  for (const char* part : {"lastDesiredVersion", "lastDesiredStatus", "deployment", "modules"})
    EXPECT_EQ(folded.at(part), reported.at(part)) << part << " at " << at;
}

void crash_at(unsigned n) {
  AgentSetup setup;
  setup.environment = {"ASAN_OPTIONS=detect_leaks=0"};  // the leak check cannot run under strace
  AgentUnderTest agent(setup);
  FleetWatch fleet(agent);
  ASSERT_NO_FATAL_FAILURE(live_until_killed(agent, n));
  agent.start();
  EXPECT_TRUE(agent.ask("/v1/status").at("recoveryProblems").as_array().empty()) << agent.log();
  ASSERT_EQ(agent.post("/v1/desired", last_document()).at("code"), 200);
  ASSERT_TRUE(eventually([&] {
    const auto reported = agent.reported();
    if (!reported.is_object() || reported.at("deployment").at("state") != "applied") return false;
    const auto& modules = reported.at("modules").as_object();
    return modules.size() == 1 && modules.contains("steady") && modules.at("steady").at("version") == "last";
  })) << agent.describe();
  agent.kill();
  const std::string starts = read_file(agent.data_dir() + "/modules/steady/data/starts");
  EXPECT_EQ(std::count(starts.begin(), starts.end(), '\n'), 1) << starts;
  expect_projection_is_the_fold(agent);
  expect_sound_log(agent);
  EXPECT_EQ(fleet.finding(), "");
  EXPECT_GT(fleet.documents(), 0u);
}

std::vector<unsigned> kills() {
  std::vector<unsigned> list{1, 3, 7, 13, 24, 45, 84, 139, 200};
  if (std::getenv("DECKLOG_CRASH_ALL")) {
    list.resize(200);
    std::iota(list.begin(), list.end(), 1u);
  }
  return list;
}

class KilledAtSync : public testing::TestWithParam<unsigned> {};

TEST_P(KilledAtSync, TheNextRunGoesOnFromTheLog) {
  crash_at(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Spread, KilledAtSync, testing::ValuesIn(kills()),
                         [](const auto& info) { return std::to_string(info.param); });

}  // namespace
}  // namespace decklog::e2e
