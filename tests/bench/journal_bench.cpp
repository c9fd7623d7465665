// The journal against a bare RocksDB loop in the same run, and how fast it reads back. Targets (DESIGN 9):
// one caller
// >= 0.8 of one synced put a step; 64 in flight >= 300k events/s; read, check, decode and fold >= 4M
// events/s.
#include <benchmark/benchmark.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>

#include "events/codec.hpp"
#include "persistence/replay_fold.hpp"
#include "persistence/rocks_journal.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {

constexpr int kPairs = 5;
constexpr std::uint64_t kOneByOne = 1000;
constexpr std::uint64_t kInFlight = 64;
constexpr std::uint64_t kMany = 60'000;
std::uint64_t replayed_events = 300'000;  // or the first argument: few are enough to count instructions

std::map<std::string, std::vector<double>> results;

double median(const std::string& what) {
  auto values = results[what];
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

template <class Work>
void timed(benchmark::State& state, const std::string& what, std::uint64_t events, Work work) {
  const auto began = std::chrono::steady_clock::now();
  const std::clock_t cpu_began = std::clock();
  work();
  const double cpu = static_cast<double>(std::clock() - cpu_began) / CLOCKS_PER_SEC;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  state.SetIterationTime(took.count());
  state.counters["events/s"] = static_cast<double>(events) / took.count();
  results[what].push_back(static_cast<double>(events) / took.count());
  results[what + " cpu"].push_back(static_cast<double>(events) / cpu);
}

// Appends with so many steps in flight, one event each.
void append(Journal& journal, std::uint64_t count, std::uint64_t window) {
  std::mutex mutex;
  std::condition_variable room;
  std::uint64_t waiting = 0;
  const std::uint64_t first = journal.next_sequence().value;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::vector<Envelope> step{event_at(first + i)};
    {
      std::unique_lock lock(mutex);
      room.wait(lock, [&] { return waiting < window; });
      ++waiting;
    }
    journal.append(step, [&](const Status& status) {
      if (!status) std::abort();
      const std::lock_guard lock(mutex);
      --waiting;
      room.notify_one();
    });
  }
  std::unique_lock lock(mutex);
  room.wait(lock, [&] { return waiting == 0; });
}

std::unique_ptr<rocksdb::DB> bare_store(const std::filesystem::path& path) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.recycle_log_file_num = 2;
  rocksdb::DB* opened = nullptr;
  if (!rocksdb::DB::Open(options, path, &opened).ok()) std::abort();
  return std::unique_ptr<rocksdb::DB>(opened);
}

void bare_puts(const std::filesystem::path& path, benchmark::State& state) {
  const auto db = bare_store(path);
  rocksdb::WriteOptions sync;
  sync.sync = true;
  timed(state, "bare", kOneByOne, [&] {
    for (std::uint64_t i = 1; i <= kOneByOne; ++i) {
      if (!db->Put(sync, std::to_string(i), encode(event_at(i))).ok()) std::abort();
    }
  });
}

void one_caller(benchmark::State& state) {
  for (auto _ : state) {
    const TempDir dir(std::filesystem::current_path());
    bare_puts(dir.path() / "bare", state);
    const auto journal = RocksJournal::open({.directory = dir.path() / "j"}).value();
    timed(state, "one", kOneByOne, [&] { append(*journal, kOneByOne, 1); });
  }
}
BENCHMARK(one_caller)->UseManualTime()->Iterations(kPairs)->Unit(benchmark::kMillisecond);

// What a program that does nothing else reaches: a batch of events in one synced write, the next when it is
// durable.
void bare_batches(benchmark::State& state, std::uint64_t batch) {
  const TempDir dir(std::filesystem::current_path());
  const auto db = bare_store(dir.path() / "bare");
  rocksdb::WriteOptions sync;
  sync.sync = true;
  timed(state, "batches", kMany, [&] {
    for (std::uint64_t i = 1; i <= kMany; i += batch) {
      rocksdb::WriteBatch group;
      for (std::uint64_t at = i; at < i + batch; ++at) group.Put(std::to_string(at), encode(event_at(at)));
      if (!db->Write(sync, &group).ok()) std::abort();
    }
  });
}

void in_flight(benchmark::State& state) {
  for (auto _ : state) {
    const TempDir dir(std::filesystem::current_path());
    bare_batches(state, kInFlight);
    const auto journal = RocksJournal::open({.directory = dir.path() / "j"}).value();
    timed(state, "many", kMany, [&] { append(*journal, kMany, kInFlight); });
  }
}
BENCHMARK(in_flight)->UseManualTime()->Iterations(kPairs)->Unit(benchmark::kMillisecond);

void replay(benchmark::State& state) {
  const TempDir dir(std::filesystem::current_path());
  const auto journal =
      RocksJournal::open({.directory = dir.path() / "j", .sync = SyncPolicy::kNever}).value();
  append(*journal, replayed_events, 512);
  for (auto _ : state) {
    std::uint64_t bytes = 0;
    timed(state, "raw", replayed_events, [&] {
      (void)journal->read_raw({1}, {~0ull},
                              {[&](const RawEvent& raw) { return (bytes += raw.bytes.size()) > 0; }});
    });
    benchmark::DoNotOptimize(bytes);
    std::uint64_t restarts = 0;
    FoldCallbacks callbacks;
    callbacks.apply = [&](const Envelope& event) -> Status {
      if (const auto* fact = std::get_if<ModuleTransitioned>(&event.fact))
        restarts += fact->life.restart_count;
      return {};
    };
    timed(state, "fold", replayed_events, [&] { (void)fold(*journal, {}, callbacks); });
    benchmark::DoNotOptimize(restarts);
  }
}
BENCHMARK(replay)->UseManualTime()->Iterations(kPairs)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace decklog::persistence

int main(int argc, char** argv) {
  using decklog::persistence::median;
  benchmark::Initialize(&argc, argv);
  if (argc > 1) decklog::persistence::replayed_events = std::strtoull(argv[1], nullptr, 10);
  benchmark::RunSpecifiedBenchmarks();
  std::printf("\nmedians, events/s                     ours     target\n");
  std::printf("append, one caller           %12.0f  %9.0f (0.8 x bare RocksDB %.0f; ratio %.2f)\n",
              median("one"), 0.8 * median("bare"), median("bare"), median("one") / median("bare"));
  std::printf(
      "append, 64 in flight         %12.0f     300000 (bare RocksDB, batches of 64: %.0f; ratio %.2f)\n",
      median("many"), median("batches"), median("many") / median("batches"));
  std::printf("                                  a second  a CPU second\n");
  std::printf("read and check, no decode    %12.0f  %12.0f\n", median("raw"), median("raw cpu"));
  std::printf("read, check, decode, fold    %12.0f  %12.0f    4000000\n", median("fold"), median("fold cpu"));
}
