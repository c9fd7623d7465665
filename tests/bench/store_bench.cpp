// Message store against a bare RocksDB loop that does nothing else: one batch of N puts, one sync, repeat.
// Pairs are interleaved; medians and their ratio are printed at the end. Targets: >= 0.8 of the bare loop at
// each window; 100,000 messages accepted at >= 100k/s and drained at >= 150k/s.
#include <benchmark/benchmark.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "persistence/message_store.hpp"
#include "tests/support/hand_executor.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kBody = 256;
constexpr std::size_t kBacklog = 100'000;
constexpr int kPairs = 5;

std::map<std::string, std::vector<double>> results;

void note(const std::string& what, double per_second) {
  results[what].push_back(per_second);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

struct Bench {
  explicit Bench(const std::string& directory) {
    StoreHooks hooks;
    hooks.post = [this](std::function<void()> work) { loop.post(std::move(work)); };
    hooks.committed = [this](const Committed& done) {
      if (done.first <= done.last) decided = done.last.value;
    };
    hooks.readable = [this](QueueId) { readable = true; };
    auto opened = MessageStore::open({.directory = directory}, hooks, BootId{"bench"}, now);
    if (!opened) std::abort();
    store = std::move(*opened);
    queue = *store->open_queue({QueueKind::kSession, "bench", 9});
  }
  std::uint64_t put() {
    const QueueRef ref[] = {{queue}};
    const auto id = store->put({"topic/of/a/sensor", body, 1}, ref, now);
    if (!id) std::abort();
    return id->value;
  }
  Instant now{{1'800'000'000'000'000'000}, {1}};
  test::HandExecutor loop;
  std::uint64_t decided = 0;
  bool readable = false;
  std::string body = std::string(kBody, 'x');
  QueueId queue;
  std::unique_ptr<MessageStore> store;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Messages are delivered and acknowledged as soon as they are durable: the broker's usual case.
double store_rate(std::size_t window, std::size_t messages) {
  const test::TempDir directory(std::filesystem::current_path());
  Bench bench(directory.path().string());
  std::uint64_t last = 0, sent = 0;
  MessageId cursor;
  std::vector<Delivery> out;
  const auto begin = std::chrono::steady_clock::now();
  while (sent < messages || bench.decided < last) {
    while (sent < messages && last - bench.decided < window) {
      last = bench.put();
      ++sent;
      if (sent == 1) bench.decided = last - 1;
    }
    const std::uint64_t before = bench.decided;
    bench.loop.run_until([&] { return bench.decided != before; });
    out.clear();
    bench.store->fetch(bench.queue, cursor, {.max_messages = 1024}, bench.now, out);
    for (const Delivery& delivery : out) bench.store->ack(bench.queue, delivery.id);
  }
  return static_cast<double>(messages) / seconds_since(begin);
}

double raw_rate(std::size_t window, std::size_t messages) {
  const test::TempDir directory(std::filesystem::current_path());
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 4 * 1024 * 1024;
  options.compression = rocksdb::kNoCompression;
  options.recycle_log_file_num = 2;
  rocksdb::DB* raw = nullptr;
  if (!rocksdb::DB::Open(options, directory.path().string(), &raw).ok()) std::abort();
  const std::unique_ptr<rocksdb::DB> db(raw);
  rocksdb::WriteOptions sync;
  sync.sync = true;
  const std::string body(kBody, 'x');
  std::uint64_t number = 0;
  const auto begin = std::chrono::steady_clock::now();
  while (number < messages) {
    rocksdb::WriteBatch batch;
    for (std::size_t i = 0; i < window; ++i) {
      std::uint64_t key = __builtin_bswap64(++number);
      batch.Put({reinterpret_cast<const char*>(&key), 8}, body);
    }
    if (!db->Write(sync, &batch).ok()) std::abort();
  }
  return static_cast<double>(number) / seconds_since(begin);
}

void durable_put(benchmark::State& state) {
  const auto window = static_cast<std::size_t>(state.range(0));
  const std::size_t messages = window == 1 ? 2'000 : window * 400;
  for (auto _ : state) {
    const double raw = raw_rate(window, messages);
    const double ours = store_rate(window, messages);
    note("durable put, " + std::to_string(window) + " in flight: store", ours);
    note("durable put, " + std::to_string(window) + " in flight: raw", raw);
    state.counters["store/s"] = ours;
    state.counters["raw/s"] = raw;
    state.counters["ratio"] = ours / raw;
  }
}

void accept_and_drain(benchmark::State& state) {
  for (auto _ : state) {
    const test::TempDir directory(std::filesystem::current_path());
    Bench bench(directory.path().string());
    const std::uint64_t first = bench.put();
    std::uint64_t last = first;
    bench.decided = first - 1;
    auto begin = std::chrono::steady_clock::now();
    while (last - first + 1 < kBacklog || bench.decided < last) {
      while (last - first + 1 < kBacklog && last - bench.decided < 400) last = bench.put();
      const std::uint64_t before = bench.decided;
      bench.loop.run_until([&] { return bench.decided != before; });
    }
    note("accept 100k", kBacklog / seconds_since(begin));
    MessageId cursor;
    std::vector<Delivery> out;
    std::size_t drained = 0;
    begin = std::chrono::steady_clock::now();
    while (drained < kBacklog) {
      out.clear();
      bench.readable = false;
      const FetchState fetched = bench.store->fetch(bench.queue, cursor, {}, bench.now, out);
      for (const Delivery& delivery : out) bench.store->ack(bench.queue, delivery.id);
      drained += out.size();
      if (fetched == FetchState::kLoading) bench.loop.run_until([&] { return bench.readable; });
    }
    bench.store->flush();
    note("drain 100k", kBacklog / seconds_since(begin));
  }
}

BENCHMARK(durable_put)
    ->Arg(1)
    ->Arg(32)
    ->Arg(100)
    ->Arg(400)
    ->Iterations(kPairs)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(accept_and_drain)->Iterations(kPairs)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace decklog::persistence

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  using decklog::persistence::median;
  using decklog::persistence::results;
  for (const auto& [what, values] : results) {
    std::printf("%-42s %10.0f /s (median of %zu)", what.c_str(), median(values), values.size());
    if (const auto end = what.find(": store"); end != std::string::npos) {
      std::printf("  %.2f x raw", median(values) / median(results[what.substr(0, end) + ": raw"]));
    }
    std::printf("\n");
  }
  return 0;
}
