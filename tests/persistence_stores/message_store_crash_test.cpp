// A writer is killed at random instants: nothing it reported as durable may be missing, and the order holds.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <set>
#include <sstream>

#include "tests/persistence_stores/store_fixture.hpp"

extern char** environ;

namespace decklog::persistence {
namespace {

struct Said {
  std::set<std::uint64_t> put, acked;
};

// Runs the writer until it has said enough bytes, then kills it.
std::string run_and_kill(const std::string& directory, std::uint64_t first, std::size_t bytes) {
  int pipe_ends[2];
  EXPECT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "store_writer";
  const std::string number = std::to_string(first);
  const char* arguments[] = {program.c_str(), directory.c_str(), number.c_str(), nullptr};
  pid_t child = 0;
  EXPECT_EQ(::posix_spawn(&child, program.c_str(), &actions, nullptr, const_cast<char**>(arguments), environ),
            0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_ends[1]);
  std::string output;
  char buffer[4096];
  bool killed = false;
  for (;;) {
    const ssize_t got = ::read(pipe_ends[0], buffer, sizeof buffer);
    if (got <= 0) break;
    output.append(buffer, static_cast<std::size_t>(got));
    if (!killed && output.size() >= bytes) {
      killed = true;
      ::kill(child, SIGKILL);
    }
  }
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "status " << status;
  return output;
}

TEST(MessageStoreCrash, NothingDurableIsLostAtTwentyRandomInstants) {
  TempDir dir;
  const std::string directory = dir.path("store");
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  Said said;
  std::uint64_t next = 0;
  for (int round = 0; round < 20; ++round) {
    const std::size_t bytes = std::uniform_int_distribution<std::size_t>(1, 20'000)(random);
    std::istringstream lines(run_and_kill(directory, next, bytes));
    std::string word, line;
    std::uint64_t number = 0;
    while (lines >> word >> number) {
      (word == "put" ? said.put : said.acked).insert(number);
      next = std::max(next, number + 1);
    }
    next += 1'000;  // numbers put but not reported are not used again
    Harness harness(directory);
    EXPECT_FALSE(harness.store->open_report().damaged) << harness.store->open_report().problem;
    std::set<std::uint64_t> present;
    std::uint64_t last = 0;
    const auto id = harness.store->find_queue({QueueKind::kSession, "s", 9});
    ASSERT_TRUE(id);
    for (const Delivery& delivery : harness.fetch_all(*id)) {
      number = std::stoull(std::string(delivery.body));
      EXPECT_TRUE(present.insert(number).second) << "twice: " << number;
      EXPECT_GE(number, last) << "order";
      EXPECT_EQ(delivery.body.size(), std::to_string(number).size() + 1 + number % 700) << "body";
      last = number;
    }
    std::size_t missing = 0;
    for (const std::uint64_t put : said.put)
      missing += present.contains(put) || said.acked.contains(put) ? 0 : 1;
    EXPECT_EQ(missing, 0u) << "acknowledged but lost, seed " << seed << " round " << round;
    const auto other = harness.store->find_queue({QueueKind::kSession, "other", 9});
    ASSERT_TRUE(other);
    std::set<std::uint64_t> others;
    for (const Delivery& delivery : harness.fetch_all(*other))
      others.insert(std::stoull(std::string(delivery.body)));
    for (const std::uint64_t put : said.put) {
      if (put % 3 == 0) {
        EXPECT_TRUE(others.contains(put)) << put;
      }
    }
    harness.expect_conserved();
  }
  EXPECT_GT(said.put.size(), 200u);
}

}  // namespace
}  // namespace decklog::persistence
