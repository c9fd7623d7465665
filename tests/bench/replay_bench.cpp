// How fast a log is decided again: every recorded input through the machines, every decision compared. Target
// (DESIGN 9): >= 1M events/s re-deciding. Once over events in memory, which is the deciding alone, and once
// over a journal's bytes, which is what `decklog replay` does.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "services/audit/replay.hpp"
#include "tests/services/agent/agent_sim.hpp"

namespace decklog::audit {
namespace {

using namespace std::chrono_literals;

constexpr int kRounds = 5;
std::uint64_t least_events = 200'000;  // or the first argument: few are enough to count instructions

std::map<std::string, std::vector<double>> results;

double median(const std::string& what) {
  auto values = results[what];
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// Twelve modules: some steady, some that crash, two with probes; the image of one changes with the version.
std::string deployment(int version) {
  std::string modules;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "module" + std::to_string(i);
    const bool updated = i == version % 12;
    modules += (i == 0 ? "\"" : ",\"") + name +
               R"(":{"type":"docker","restartPolicy":"always","startupOrder":)" + std::to_string(i % 3) +
               R"(,"env":{"SITE":{"value":"plant-7"},"MODE":{"value":"field"}},)" +
               R"("restart":{"backoffFirstSecs":1,"backoffCapSecs":30},)" +
               (i >= 10 ? R"("probes":{"liveness":{"tcp":{"port":80},"failureThreshold":2}},)" : "") +
               R"("settings":{"image":"registry.example.com/team/)" + name + ":" +
               std::to_string(updated ? version : 0) +
               R"(","createOptions":"{\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"no\"}}}"}})";
  }
  return R"({"schemaVersion":"1.1","modules":{)" + modules + "}}";
}

// A device's life, in virtual time: crash loops, health that comes and goes, a deployment now and then.
void live(agent::sim::AgentSim& sim) {
  int version = 0;
  for (std::uint64_t round = 0; sim.journal.next_sequence().value <= least_events; ++round) {
    if (round % 200 == 0) sim.deploy(deployment(++version));
    for (int i = 0; i < 6; ++i) sim.end_run("module" + std::to_string(i), i % 2 == 0 ? 1 : 139, 0);
    for (const char* ill : {"module10", "module11"}) {
      sim.probe(ill, "liveness", round % 3 != 0);
      sim.probe(ill, "liveness", round % 3 != 0);
    }
    if (round % 500 == 499) sim.crash_agent();
    sim.pass(45s);
  }
  if (!sim.broken.empty()) {
    std::fprintf(stderr, "%s\n", sim.broken.front().c_str());
    std::abort();
  }
}

// The events as they are, without bytes to read.
class DecodedLog final : public persistence::JournalReader {
 public:
  explicit DecodedLog(const persistence::JournalReader& journal) {
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      events_.push_back(event);
      return true;
    };
    if (!journal.read(Sequence{1}, journal.durable_sequence(), visitor)) std::abort();
  }
  Sequence first_sequence() const override { return events_.front().sequence; }
  Sequence complete_from() const override { return first_sequence(); }
  Sequence durable_sequence() const override { return events_.back().sequence; }
  std::uint64_t epoch() const override { return 1; }
  Status read(Sequence from, Sequence to, const persistence::Visitor& visitor) const override {
    for (const auto& event : events_) {
      if (from <= event.sequence && event.sequence <= to && !visitor.event(event)) break;
    }
    return {};
  }
  Status read_raw(Sequence, Sequence, const persistence::RawVisitor&) const override { return unsupported(); }
  Status read_stream(const StreamId&, Sequence, const persistence::Visitor&) const override {
    return unsupported();
  }
  Result<persistence::Snapshot> latest_snapshot(std::string_view, Sequence) const override {
    return error(Errc::kNotFound, "none");
  }
  std::string leaf_salt() const override { return {}; }

 private:
  static Error unsupported() { return error(Errc::kUnsupported, "not needed to replay"); }
  std::vector<Envelope> events_;
};

void replayed(benchmark::State& state, const std::string& what, const persistence::JournalReader& log) {
  const auto began = std::chrono::steady_clock::now();
  const std::clock_t cpu_began = std::clock();
  const auto report = replay_agent(log, {});
  const double cpu = static_cast<double>(std::clock() - cpu_began) / CLOCKS_PER_SEC;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  if (!report.honest() || report.last != log.durable_sequence()) std::abort();
  const auto events = static_cast<double>(report.last.value);
  state.SetIterationTime(took.count());
  state.counters["events/s"] = events / took.count();
  results[what].push_back(events / took.count());
  results[what + " cpu"].push_back(events / cpu);
}

void replay(benchmark::State& state) {
  static agent::sim::AgentSim sim;
  static const bool lived = (live(sim), true);
  static const DecodedLog decoded(sim.journal);
  benchmark::DoNotOptimize(lived);
  for (auto _ : state) {
    replayed(state, "bytes", sim.journal);
    replayed(state, "decoded", decoded);
  }
}
BENCHMARK(replay)->UseManualTime()->Iterations(kRounds)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace decklog::audit

int main(int argc, char** argv) {
  using decklog::audit::median;
  benchmark::Initialize(&argc, argv);
  if (argc > 1) decklog::audit::least_events = std::strtoull(argv[1], nullptr, 10);
  benchmark::RunSpecifiedBenchmarks();
  std::printf("\nmedians, events                  a second  a CPU second     target\n");
  std::printf("decide again, compare        %12.0f  %12.0f    1000000\n", median("decoded"),
              median("decoded cpu"));
  std::printf("the same, from bytes         %12.0f  %12.0f\n", median("bytes"), median("bytes cpu"));
}
