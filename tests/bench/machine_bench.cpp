// One step of a machine against a switch written by hand that does the same with the same actions, in the
// same run, in interleaved pairs. Ends with an error when the budget is missed: at least 0.4 of the switch,
// no allocation.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "statemachines/module_table.hpp"
#include "statemachines/uplink_table.hpp"

namespace {
std::size_t allocations = 0;
}
// Not inlined: the compiler would see malloc() meet operator delete and warn.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace decklog::statemachines {
namespace {

using Result = Step<UplinkLife>;

// Uplink by hand: the rows of uplink_table.hpp as a switch.
struct Switch {
  uplink::Run& run;
  bool taken = true;

  template <class Action, class Input>
  void take(const Input& input, UplinkState to) {
    Action{}(input, run);
    run.life.state = to;
  }
  bool up() const {
    return run.life.state == UplinkState::kConnected || run.life.state == UplinkState::kSuspect;
  }
  bool waiting() const {
    return run.life.state == UplinkState::kBackingOff || run.life.state == UplinkState::kRefused;
  }

  void on(const LinkWanted& in) {
    if (run.life.state == UplinkState::kDisconnected)
      return take<uplink::connect>(in, UplinkState::kConnecting);
    taken = false;
  }
  void on(const LinkUnwanted& in) {
    if (up()) return take<uplink::close_up>(in, UplinkState::kDisconnected);
    if (run.life.state != UplinkState::kDisconnected)
      return take<uplink::close>(in, UplinkState::kDisconnected);
    taken = false;
  }
  void on(const LinkEstablished& in) {
    if (run.life.state == UplinkState::kConnecting) return take<uplink::come_up>(in, UplinkState::kConnected);
    if (!up()) return take<uplink::drop_late>(in, run.life.state);
    taken = false;
  }
  void on(const LinkFailed& in) {
    if (run.life.state == UplinkState::kConnecting) return take<uplink::fail>(in, UplinkState::kBackingOff);
    if (up()) return take<uplink::lose>(in, UplinkState::kBackingOff);
    taken = false;
  }
  void on(const LinkLost& in) {
    if (run.life.state == UplinkState::kConnecting) return take<uplink::fail>(in, UplinkState::kBackingOff);
    if (up()) return take<uplink::lose>(in, UplinkState::kBackingOff);
    taken = false;
  }
  void on(const LinkRefused& in) {
    if (run.life.state == UplinkState::kConnecting) return take<uplink::refuse>(in, UplinkState::kRefused);
    if (up()) return take<uplink::refuse_up>(in, UplinkState::kRefused);
    taken = false;
  }
  void on(const PingAnswered& in) {
    if (run.life.state == UplinkState::kSuspect) return take<uplink::trust>(in, UplinkState::kConnected);
    taken = false;
  }
  void on(const PingMissed& in) {
    if (!up()) {
      taken = false;
    } else if (uplink::missed_too_often{}(in, run)) {
      take<uplink::give_up>(in, UplinkState::kBackingOff);
    } else {
      take<uplink::suspect>(in, UplinkState::kSuspect);
    }
  }
  void on(const UplinkTimerFired& in) {
    taken = uplink::due{}(in, run);
    if (!taken) return;
    if (run.life.state == UplinkState::kConnecting)
      return take<uplink::fail_late>(in, UplinkState::kBackingOff);
    if (up()) return take<uplink::ping>(in, run.life.state);
    if (waiting()) return take<uplink::connect>(in, UplinkState::kConnecting);
    taken = false;
  }
  void on(const CredentialsChanged& in) {
    if (waiting()) return take<uplink::connect_anew>(in, UplinkState::kConnecting);
    if (run.life.state == UplinkState::kConnecting)
      return take<uplink::reconnect_anew>(in, UplinkState::kConnecting);
    taken = false;
  }
  void on(const UplinkRestarted& in) {
    if (run.life.state != UplinkState::kDisconnected)
      return take<uplink::forget>(in, UplinkState::kDisconnected);
    taken = false;
  }
};

[[gnu::noinline]] Result switch_step(const UplinkLife& life, const UplinkInput& input,
                                     const UplinkContext& context) {
  Result result;
  std::visit(
      [&]<class Fact>(const Fact& fact) {
        result.trigger = type_name<Fact>();
        uplink::Run run;
        run.life = life;
        run.context = &context;
        Switch by_hand{run};
        by_hand.on(fact);
        result.verdict = by_hand.taken ? Verdict::kTaken : Verdict::kIgnored;
        result.effects = by_hand.taken ? run.effects : 0;
        result.next = by_hand.taken ? run.life : life;
      },
      input);
  return result;
}

std::vector<UplinkInput> uplink_inputs() {
  const std::array<UplinkInput, 12> kinds = {LinkWanted{},  LinkEstablished{},  UplinkTimerFired{},
                                             PingMissed{},  PingAnswered{},     UplinkTimerFired{},
                                             LinkLost{6},   UplinkTimerFired{}, LinkEstablished{},
                                             LinkFailed{2}, LinkRefused{5},     CredentialsChanged{}};
  std::vector<UplinkInput> inputs;
  std::uint64_t x = 7;
  for (int i = 0; i < 4096; ++i) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    inputs.push_back(kinds[(x >> 33) % kinds.size()]);
  }
  return inputs;
}

template <class StepFn>
std::uint64_t run_uplink(StepFn step_fn, const std::vector<UplinkInput>& inputs, int rounds) {
  UplinkLife life;
  UplinkContext context{{MonoTime{1}, 99}, {}};
  std::uint64_t sum = 0;
  for (int round = 0; round < rounds; ++round) {
    for (const UplinkInput& input : inputs) {
      context.now.ns += 7'000'000'000;
      const Result result = step_fn(life, input, context);
      sum = sum * 31 + result.effects + static_cast<std::uint64_t>(result.next.state);
      life = result.next;
    }
  }
  return sum + static_cast<std::uint64_t>(life.deadline_mono_ns);
}

Result machine_step(const UplinkLife& life, const UplinkInput& input, const UplinkContext& context) {
  return step(life, input, context);
}

void BM_UplinkBySwitch(benchmark::State& state) {
  const auto inputs = uplink_inputs();
  for (auto _ : state) benchmark::DoNotOptimize(run_uplink(switch_step, inputs, 1));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(inputs.size()));
}
void BM_UplinkByMachine(benchmark::State& state) {
  const auto inputs = uplink_inputs();
  for (auto _ : state) benchmark::DoNotOptimize(run_uplink(machine_step, inputs, 1));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(inputs.size()));
}
BENCHMARK(BM_UplinkBySwitch);
BENCHMARK(BM_UplinkByMachine);

// A module's day: deployed, crashed, backed off, started again; 2 rows a step.
void BM_ModuleLifecycle(benchmark::State& state) {
  const std::vector<ModuleInput> day = {SeenExited{1, EndCause::kError, 1, 0},
                                        ModuleTimerFired{},
                                        StartSucceeded{},
                                        SeenRunning{1},
                                        HealthFailed{},
                                        StopSucceeded{0, 15},
                                        ModuleTimerFired{},
                                        StartSucceeded{}};
  ModuleContext context{{MonoTime{1'000'000'000}, 12345}, {}};
  ModuleLife life;
  for (const ModuleInput& input :
       std::vector<ModuleInput>{ModuleWanted{ModuleTarget::kRunning, RestartPolicy::kAlways, 1, true, false},
                                TurnGranted{}, PullSucceeded{}, CreateSucceeded{1}, StartSucceeded{}})
    life = step(life, input, context).next;
  std::uint64_t sum = 0;
  for (auto _ : state) {
    for (const ModuleInput& input : day) {
      context.now.ns += 700'000'000'000;
      life = step(life, input, context).next;
      sum += static_cast<std::uint64_t>(life.state);
    }
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(day.size()));
}
BENCHMARK(BM_ModuleLifecycle);

double seconds_of(std::uint64_t (*what)(const std::vector<UplinkInput>&),
                  const std::vector<UplinkInput>& inputs) {
  const auto begin = std::chrono::steady_clock::now();
  benchmark::DoNotOptimize(what(inputs));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int check_budget() {
  constexpr int kPairs = 11, kRounds = 40;
  const auto inputs = uplink_inputs();
  if (run_uplink(switch_step, inputs, 3) != run_uplink(machine_step, inputs, 3)) {
    std::printf("FAILED: switch and machine do not do the same\n");
    return 1;
  }
  std::vector<double> ratios;
  const std::size_t before = allocations;
  ratios.reserve(kPairs);
  for (int pair = 0; pair < kPairs; ++pair) {
    const double by_switch =
        seconds_of([](const auto& in) { return run_uplink(switch_step, in, kRounds); }, inputs);
    const double by_machine =
        seconds_of([](const auto& in) { return run_uplink(machine_step, in, kRounds); }, inputs);
    ratios.push_back(by_switch / by_machine);
  }
  const std::size_t allocated = allocations - before - 1;  // the vector of ratios
  std::nth_element(ratios.begin(), ratios.begin() + kPairs / 2, ratios.end());
  const double ratio = ratios[kPairs / 2];
  std::printf(
      "machine/switch rate %.2f (at least 0.40), allocations %zu (0), ModuleLife %zu B (at most 112), "
      "UplinkLife %zu B\n",
      ratio, allocated, sizeof(ModuleLife), sizeof(UplinkLife));
  return ratio >= 0.4 && allocated == 0 ? 0 : 1;
}

}  // namespace
}  // namespace decklog::statemachines

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return decklog::statemachines::check_budget();
}
