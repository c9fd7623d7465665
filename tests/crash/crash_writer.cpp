// Appends steps to a journal until it is killed, and prints "acked <sequence>" after each durable one.
// crash_writer <directory> <sync|nosync> <most events>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "persistence/rocks_journal.hpp"
#include "tests/crash/crash_steps.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kInFlight = 8;

int write_until_killed(const char* directory, SyncPolicy sync, std::uint64_t most) {
  auto journal = RocksJournal::open({.directory = directory, .budget_bytes = 16u << 20, .sync = sync});
  if (!journal) {
    std::fprintf(stderr, "%s\n", describe(journal.error()).c_str());
    return 1;
  }
  std::mutex mutex;
  std::condition_variable room;
  std::size_t in_flight = 0;
  bool failed = false;
  std::uint64_t next = (*journal)->next_sequence().value;
  while (next <= most) {
    {
      std::unique_lock lock(mutex);
      room.wait(lock, [&] { return in_flight < kInFlight || failed; });
      if (failed) break;
      ++in_flight;
    }
    const auto step = step_at(next);
    next += step.size();
    (*journal)->append(step, [&, last = next - 1](const Status& status) {
      const std::string line = "acked " + std::to_string(last) + "\n";
      // One write a line, so that a kill leaves whole lines.
      if (status && ::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::abort();
      const std::lock_guard lock(mutex);
      failed = failed || status.has_error();
      --in_flight;
      room.notify_one();
    });
  }
  return (*journal)->flush().has_value() ? 0 : 2;
}

}  // namespace
}  // namespace decklog::persistence

int main(int argc, char** argv) {
  using decklog::persistence::SyncPolicy;
  if (argc != 4) return 64;
  const auto sync = std::strcmp(argv[2], "nosync") == 0 ? SyncPolicy::kNever : SyncPolicy::kEachGroup;
  return decklog::persistence::write_until_killed(argv[1], sync, std::strtoull(argv[3], nullptr, 10));
}
