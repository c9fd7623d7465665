// Kills and power cuts. A writer appends numbered steps and acknowledges the durable ones; whatever happens
// to it, the journal afterwards holds whole steps, contiguous, nothing invented, nothing acknowledged
// missing. With syncs off the same power cut must lose something, or the test proves nothing. Needs root,
// strace, mkfs.ext4 and loop devices.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "persistence/rocks_journal.hpp"
#include "tests/crash/crash_steps.hpp"
#include "tests/support/power_disk.hpp"

namespace decklog::persistence {
namespace {
namespace fs = std::filesystem;

constexpr const char* kFastDisk = "/dev/shm";  // a kill does not care about the disk
constexpr std::uint64_t kEndless = 10'000'000;

// A child whose standard output we read.
class Child final {
 public:
  explicit Child(const std::vector<std::string>& arguments) {
    int pipe_ends[2];
    if (::pipe2(pipe_ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(pipe_ends[1], STDOUT_FILENO);
      ::setenv("ASAN_OPTIONS", "detect_leaks=0:handle_abort=1", 1);  // the leak check cannot run under strace
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(pipe_ends[1]);
    output_ = pipe_ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
    ::close(output_);
  }

  // Reads until the end, or until `enough` was acknowledged. Returns the last acknowledged sequence.
  std::uint64_t acknowledged(std::uint64_t enough = ~0ull) {
    char buffer[4096];
    while (acked_ < enough) {
      const ssize_t got = ::read(output_, buffer, sizeof buffer);
      if (got <= 0) break;
      text_.append(buffer, static_cast<std::size_t>(got));
      for (std::size_t end; (end = text_.find('\n')) != std::string::npos; text_.erase(0, end + 1)) {
        if (text_.starts_with("acked ")) acked_ = std::stoull(text_.substr(6, end - 6));
      }
    }
    return acked_;
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  void kill() { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  std::string text_;
  std::uint64_t acked_ = 0;
};

std::string writer() {
  return std::string(DECKLOG_BINARY_DIR) + "/crash_writer";
}

// Returns the last sequence found.
std::uint64_t check(const fs::path& directory, std::uint64_t acked) {
  auto journal = RocksJournal::open({.directory = directory});
  EXPECT_TRUE(journal.has_value()) << describe(journal.error());
  if (!journal) return 0;
  EXPECT_FALSE((*journal)->report().damaged) << (*journal)->report().damage;
  EXPECT_TRUE((*journal)->report().gaps.empty());
  std::uint64_t last = 0;
  const Status status = (*journal)->read({1}, {~0ull}, {[&](const Envelope& event) {
                                           EXPECT_EQ(event.sequence.value, last + 1);
                                           EXPECT_EQ(event, event_at(event.sequence.value, 40));
                                           last = event.sequence.value;
                                           return !testing::Test::HasFailure();
                                         }});
  EXPECT_TRUE(status.has_value()) << describe(status.error());
  EXPECT_GE(last, acked) << "acknowledged events are gone";
  EXPECT_TRUE(ends_a_step(last)) << "half a step at " << last;
  EXPECT_EQ((*journal)->next_sequence().value, last + 1);
  return last;
}

// Kills the writer as it enters its n-th sync. Each thread counts for itself: small n hit the opening of the
// store.
std::uint64_t kill_at_sync(const fs::path& directory, int n) {
  Child child({"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
               "inject=fdatasync,fsync:signal=KILL:when=" + std::to_string(n), writer(), directory, "sync",
               std::to_string(kEndless)});
  const std::uint64_t acked = child.acknowledged();
  const int status = child.wait();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      << "status " << status << ": was strace there?";
  return acked;
}

bool full_run() {
  return std::getenv("DECKLOG_CRASH_FULL") != nullptr;
}

// In an ordinary run as many as fit the time, spread first and dense later; DECKLOG_CRASH_FULL=1 takes all
// 200.
constexpr std::chrono::seconds kOrdinaryTime(40);
std::vector<int> sync_numbers() {
  std::vector<int> numbers;
  for (const int stride : {29, 7, 1}) {
    for (int n = 1; n <= 200; n += stride) {
      if (std::find(numbers.begin(), numbers.end(), n) == numbers.end()) numbers.push_back(n);
    }
  }
  return numbers;
}

class Budget final {
 public:
  bool left() const { return full_run() || std::chrono::steady_clock::now() - began_ < kOrdinaryTime; }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

TEST(JournalCrash, KilledAtEverySyncOfAFreshJournal) {
  std::uint64_t most = 0;
  const Budget time;
  std::size_t kills = 0;
  for (const int n : sync_numbers()) {
    if (kills >= 7 && !time.left()) break;  // the first seven reach from 1 to 175
    ++kills;
    SCOPED_TRACE("killed at sync " + std::to_string(n));
    const TempDir dir(kFastDisk);
    const std::uint64_t acked = kill_at_sync(dir.path() / "j", n);
    most = std::max(most, check(dir.path() / "j", acked));
    if (HasFailure()) return;
  }
  EXPECT_GT(most, 100u) << "the writer never got going";
}

TEST(JournalCrash, KilledAgainAndAgainWhileItRecovers) {
  const TempDir dir(kFastDisk);
  std::uint64_t acked = 0;
  std::uint64_t last = 0;
  const Budget time;
  for (int n = 1; n <= 40 && (n <= 12 || time.left()); ++n) {
    SCOPED_TRACE("killed at sync " + std::to_string(n));
    acked = std::max(acked, kill_at_sync(dir.path() / "j", n));
    if (n % 4 == 0) last = check(dir.path() / "j", acked);  // in between one crash meets what another left
    if (HasFailure()) return;
  }
  EXPECT_GT(last, 0u);
}

// Lets the writer acknowledge some more, cuts the power, puts it back. Returns what was acknowledged.
std::uint64_t power_cut(fixture::PowerDisk& disk, const char* sync, std::uint64_t enough) {
  Child child({writer(), disk.path() / "j", sync, std::to_string(kEndless)});
  child.acknowledged(enough);
  EXPECT_TRUE(disk.cut()) << std::strerror(errno);
  child.kill();
  const std::uint64_t acked = child.acknowledged();
  child.wait();
  disk.off();
  EXPECT_TRUE(disk.on());
  return acked;
}

TEST(JournalCrash, APowerCutLosesNothingThatWasAcknowledged) {
  const TempDir dir;
  fixture::PowerDisk disk(dir.path());
  ASSERT_TRUE(disk.ready()) << "this test mounts a loop device and runs as root";
  std::uint64_t last = 0;
  for (int round = 0; round < 4; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const std::uint64_t acked = power_cut(disk, "sync", last + 150 + 211 * static_cast<std::uint64_t>(round));
    EXPECT_GT(acked, last);
    last = check(disk.path() / "j", acked);
    if (HasFailure()) return;
  }
}

TEST(JournalCrash, WithoutSyncsTheSamePowerCutLosesAcknowledgedEvents) {
  const TempDir dir;
  fixture::PowerDisk disk(dir.path());
  ASSERT_TRUE(disk.ready()) << "this test mounts a loop device and runs as root";
  const std::uint64_t acked = power_cut(disk, "nosync", 3000);
  auto journal = RocksJournal::open({.directory = disk.path() / "j"});
  ASSERT_TRUE(journal) << describe(journal.error());
  std::uint64_t found = 0;
  for (const Envelope& event : read_all(**journal)) {
    EXPECT_EQ(event, event_at(event.sequence.value, 40)) << "lost is one thing, invented another";
    ++found;
  }
  EXPECT_LT(found, acked) << "the power cut of these tests does not cut";
}

}  // namespace
}  // namespace decklog::persistence
