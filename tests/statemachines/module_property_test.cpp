// ModuleLifecycle against random histories: whatever happens in whatever order, the rules of module_sim.hpp
// hold at every step, and once the world is kind again the module gets to where it is wanted.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/statemachines/module_sim.hpp"

namespace decklog::statemachines::sim {
namespace {

constexpr RestartPolicy kPolicies[] = {RestartPolicy::kNever, RestartPolicy::kOnFailure,
                                       RestartPolicy::kOnUnhealthy, RestartPolicy::kAlways};

// One thing that happens, from one number.
void happen(Sim& sim, std::uint32_t what) {
  const std::uint32_t detail = what / 32;
  switch (what % 32) {
    case 0:
    case 1:
      sim.feed(ModuleWanted{detail % 8 == 0
                                ? ModuleTarget::kAbsent
                                : (detail % 4 == 1 ? ModuleTarget::kStopped : ModuleTarget::kRunning),
                            kPolicies[(detail / 8) % 4], 1 + (detail / 32) % 3, (detail / 128) % 4 != 0,
                            (detail / 512) % 2 == 0});
      break;
    case 2:
      sim.feed(TurnGranted{});
      break;
    case 3:
      sim.feed(TurnRevoked{});
      break;
    case 4:
    case 5:
    case 6:
    case 7:
      sim.finish();
      break;
    case 8:
      sim.fail();
      break;
    case 9:
      if (sim.work == PendingWork::kPull) {
        sim.work = PendingWork::kNone;
        sim.feed(DigestRejected{});
      } else if (sim.work == PendingWork::kCreate) {
        sim.work = PendingWork::kNone;
        sim.feed(CreateFailed{.image_missing = true});
      }
      break;
    case 10:
      sim.exit(0);
      break;
    case 11:
      sim.exit(1);
      break;
    case 12:
      sim.observe();
      break;
    case 13:  // somebody removes it behind our back
      if (sim.work == PendingWork::kNone) sim.presence = Sim::Presence::kAbsent, sim.observe();
      break;
    case 14:  // somebody starts it, or puts another in its place
      if (sim.work == PendingWork::kNone && sim.engine_up) {
        sim.spec = 1 + detail % 4;
        sim.presence = detail % 2 == 0 ? Sim::Presence::kRunning : Sim::Presence::kCreated;
        sim.observe();
      }
      break;
    case 15:
      sim.feed(HealthPassed{});
      break;
    case 16:
    case 17:
      sim.feed(HealthFailed{});
      break;
    case 18:
    case 19:
    case 20:
      sim.fire_timer();
      break;
    case 21:
      sim.feed(ModuleTimerFired{});
      break;  // a late one
    case 22:
      sim.feed(OperatorRestart{});
      break;
    case 23:
      sim.feed(OperatorStop{});
      break;
    case 24:
      sim.feed(OperatorStart{});
      break;
    case 25:
      sim.lose_engine(detail % 2 == 0);
      break;
    case 26:
      sim.regain_engine();
      break;
    case 27:
      sim.reboot();
      break;
    case 28:
      sim.run_for(std::chrono::seconds(1 + detail % 900));
      break;
    case 29:
      if (sim.inspect_asked) sim.observe();
      break;
    case 30:
      sim.feed(SeenExited{sim.spec, EndCause::kOutOfMemory, 137, 9});
      break;  // late, maybe not true any more
    default:
      sim.feed(StopSucceeded{0, 0});
      break;  // an answer nobody waits for, or one that is too early
  }
}

Sim start(std::uint32_t settings, std::uint64_t seed) {
  Sim sim;
  sim.seed(seed);
  sim.context.restart.max_tries = 1 + settings % 4;
  sim.context.restart.unhealthy_stop_grace = std::chrono::seconds((settings / 4) % 2 * 30);
  return sim;
}

TEST(ModuleProperties, EveryStepOfARandomHistoryKeepsTheRules) {
  const auto holds = rc::check("rules", [] {
    Sim sim = start(*rc::gen::inRange<std::uint32_t>(0, 8), *rc::gen::arbitrary<std::uint64_t>());
    if (*rc::gen::arbitrary<bool>()) sim.context.restart.after_tries = RestartSettings::AfterTries::kGiveUp;
    const auto history =
        *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(0, 1u << 16));
    for (std::uint32_t what : history) {
      // Two inputs in here lie about the world; the machine must keep its rules, not believe the impossible.
      if (what % 32 >= 30 && (sim.work != PendingWork::kNone || !sim.engine_up)) continue;
      happen(sim, what);
      if (!sim.broken.empty()) RC_FAIL(sim.broken.front());
    }
  });
  EXPECT_TRUE(holds);
}

TEST(ModuleProperties, AKindWorldBringsEveryModuleWhereItIsWanted) {
  const auto holds = rc::check("liveness", [] {
    Sim sim = start(*rc::gen::inRange<std::uint32_t>(0, 8), *rc::gen::arbitrary<std::uint64_t>());
    const auto history =
        *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(0, 1u << 16));
    for (std::uint32_t what : history) {
      if (what % 32 >= 30) continue;
      happen(sim, what);
    }
    // Calm: the deployment says its last word, nothing fails any more.
    const auto target =
        *rc::gen::element(ModuleTarget::kRunning, ModuleTarget::kStopped, ModuleTarget::kAbsent);
    const auto policy =
        *rc::gen::elementOf(std::vector<RestartPolicy>(std::begin(kPolicies), std::end(kPolicies)));
    sim.feed(ModuleWanted{target, policy, 2, true, false});
    if (target == ModuleTarget::kRunning) sim.feed(OperatorStart{});
    if (sim.life.blind || !sim.engine_up) sim.regain_engine();
    if (sim.work == PendingWork::kNone) sim.observe();
    sim.settle(200);
    if (!sim.broken.empty()) RC_FAIL(sim.broken.front());
    const ModuleLife& life = sim.life;
    const auto where = [&] { return status_description(life, sim.context.now) + "\n" + sim.log; };
    if (target == ModuleTarget::kAbsent) {
      if (life.state != ModuleState::kRemoved || sim.presence != Sim::Presence::kAbsent)
        RC_FAIL("not removed: " + where());
    } else if (target == ModuleTarget::kStopped) {
      if (sim.presence == Sim::Presence::kRunning || sim.presence == Sim::Presence::kAbsent ||
          sim.spec != 2 || life.state != ModuleState::kStopped)
        RC_FAIL("not stopped: " + where());
    } else {
      // An operator's start stands for a fresh chance only where it was not running; `never` may rest after
      // its end.
      const bool rests = !policy_restarts(policy, life.last_end);
      if (!rests &&
          (sim.presence != Sim::Presence::kRunning || sim.spec != 2 || life.state != ModuleState::kRunning))
        RC_FAIL("not running: " + where());
    }
  });
  EXPECT_TRUE(holds);
}

// The world's memory and the machine's are the same thing once everything is quiet.
TEST(ModuleProperties, AtRestTheLifeSaysWhatTheRuntimeHas) {
  const auto holds = rc::check("truth", [] {
    Sim sim = start(3, *rc::gen::arbitrary<std::uint64_t>());
    const auto history =
        *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::inRange<std::uint32_t>(0, 1u << 16));
    for (std::uint32_t what : history)
      if (what % 32 < 30) happen(sim, what);
    if (!sim.engine_up || sim.life.blind) sim.regain_engine();
    while (sim.finish()) {
    }
    sim.observe();
    while (sim.finish()) {
    }
    if (sim.life.state == ModuleState::kRunning || sim.life.state == ModuleState::kUnhealthy)
      RC_ASSERT(sim.presence == Sim::Presence::kRunning);
    RC_ASSERT(sim.life.exists == (sim.presence != Sim::Presence::kAbsent));
    if (sim.life.exists) RC_ASSERT(sim.life.current_spec == sim.spec);
  });
  EXPECT_TRUE(holds);
}

}  // namespace
}  // namespace decklog::statemachines::sim
