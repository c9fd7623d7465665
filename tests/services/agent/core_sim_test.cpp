// The agent's core held to its promises by random histories: deployments good and bad, ends, failures,
// engines that go, crashes and reboots at any moment, operators. Every history is also recovered, replayed
// and reported.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "services/agent/report.hpp"
#include "services/audit/replay.hpp"
#include "services/audit/what_if.hpp"
#include "tests/services/agent/agent_sim.hpp"

namespace decklog::agent {
namespace {

using sim::AgentSim;
namespace sm = statemachines;
using namespace std::chrono_literals;

const std::vector<std::string> kSecrets{"pass-of-the-registry", "env-value-to-hide", "token-in-options-1"};

std::string docker(const std::string& image, const std::string& more = "") {
  return R"({"type":"docker","settings":{"image":")" + image + "\"}" + (more.empty() ? "" : "," + more) + "}";
}
std::string document(const std::string& modules, const std::string& more = "") {
  return R"({"schemaVersion":"1.1","modules":{)" + modules + "}" + (more.empty() ? "" : "," + more) + "}";
}

// What a device may be given, in any order.
const std::vector<std::string>& documents() {
  static const std::vector<std::string> kDocuments{
      document("\"a\":" + docker("img:1", R"("restartPolicy":"always")") +
               ",\"b\":" + docker("img:1", R"("restartPolicy":"on-failure","startupOrder":1)")),
      document("\"a\":" + docker("img:2", R"("restartPolicy":"always")") +
               ",\"b\":" + docker("img:1", R"("restartPolicy":"never","startupOrder":1)")),
      document("\"a\":" + docker("img:2", R"("status":"stopped")") + ",\"c\":" +
               docker("img:3", R"("restartPolicy":"on-unhealthy","probes":{"startup":{"tcp":{"port":1}},
                                  "liveness":{"tcp":{"port":2},"failureThreshold":2}})")),
      document("\"b\":" + docker("img:1", R"("restart":{"maxTries":2,"afterTries":"giveUp"})") +
                   ",\"c\":" + docker("img:4", R"("restartPolicy":"always","startupOrder":0)"),
               R"("rollback":{"onFailure":true,"minHealthySecs":5,"deadlineSecs":60})"),
      document(""),
      document(std::string("\"a\":") + R"({"type":"docker","env":{"KEY":{"value":"env-value-to-hide"}},
                 "settings":{"image":"img:5","createOptions":"{\"Env\":[\"TOKEN=token-in-options-1\"]}"}})",
               R"("runtime":{"type":"docker","settings":{"registryCredentials":{"r":{"address":"r:1",
                  "username":"anna","password":"pass-of-the-registry"}}}})"),
      "{\"schemaVersion\":\"9\"}",
      "not JSON",
      document("\"a\":" + docker("IMG"))};
  return kDocuments;
}

const char* const kNames[] = {"a", "b", "c"};

void act(AgentSim& sim, unsigned what) {
  const std::string name = kNames[*rc::gen::inRange(0, 3)];
  switch (what) {
    case 0:
      return sim.deploy(documents()[*rc::gen::inRange<std::size_t>(0, documents().size())]);
    case 1:
      return sim.end_run(name, *rc::gen::element(0, 1, 137), 0);
    case 2:
      return sim.end_run(name, 139, 11);
    case 3:
      return sim.engine_gone();
    case 4:
      return sim.engine_back();
    case 5:
      return sim.crash_agent();
    case 6:
      return sim.reboot();
    case 7:
      return sim.command(*rc::gen::element<std::string>("restart", "stop", "start", "dance"), name);
    case 8:
      return sim.probe(name, *rc::gen::element<std::string>("startup", "liveness"),
                       *rc::gen::element(true, false));
    case 9:
      return sim.vanish(name);
    case 10:
      return sim.take_snapshot();
    case 11:
      return sim.list();
    case 12:
      sim.link_up = !sim.link_up;
      return;
    case 13:
      return sim.pass(30s);
    default:
      sim.next();
  }
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

// The world is kind from now on: what is wanted must come true.
void heal(AgentSim& sim) {
  sim.failures = false;
  sim.link_up = false;  // its pings would only take time
  sim.engine_back();
  sim.list();
  for (int round = 0; round < 6; ++round) {
    sim.pass(35min);
    for (const char* name : kNames) {
      if (!sim.running(name)) continue;
      sim.probe(name, "startup", true);
      sim.probe(name, "liveness", true);
    }
    sim.list();
  }
  sim.finish_work();
}

std::string not_come_true(const AgentSim& sim) {
  const AgentState& state = sim.state();
  const Document* document = state.in_force();
  if (!document) return "";
  for (const auto& [name, container] : sim.engine) {
    const auto* desired = state.desired(ModuleName(name));
    if (!desired) return name + " is still at the engine and nobody wants it";
    if (desired->status == ModuleTarget::kStopped && sim.running(name))
      return name + " runs and is to be stopped";
  }
  for (const auto& [name, desired] : document->deployment.modules) {
    const auto found = state.modules.find(name);
    if (found == state.modules.end()) return name.value + " is wanted and unknown";
    const ModuleLife& life = found->second.life;
    if (life.pending != PendingWork::kNone)
      return name.value + " has work in flight for ever: " + name_of(life.pending);
    if (life.blind) return name.value + " stays out of sight";
    if (desired.status != ModuleTarget::kRunning) continue;
    const bool may_rest = !sm::policy_restarts(desired.policy, life.last_end) || life.operator_hold ||
                          life.gave_up || life.state == ModuleState::kImageRejected;
    if (life.operator_hold && sim.running(name.value))
      return name.value + " runs though an operator holds it";
    if (!may_rest && !sim.running(name.value))
      return name.value + " should run and is " + name_of(life.state) + " after " + name_of(life.last_end);
    if (sim.running(name.value) && sim.engine.at(name.value).spec_hash != desired.spec_hash &&
        life.state != ModuleState::kImageRejected && !life.gave_up)
      return name.value + " runs what is no longer wanted";
  }
  return "";
}

TEST(CoreSim, KeepsItsPromisesInAnyHistory) {
  const bool held = rc::check("any history", [] {
    AgentSim sim([](std::uint64_t n) { return *rc::gen::arbitrary<std::uint64_t>() % n; });
    sim.failures = *rc::gen::element(true, false);
    const auto steps = *rc::gen::inRange(10, 60);
    for (int i = 0; i < steps; ++i) {
      act(sim, *rc::gen::inRange(0u, 30u));
      RC_ASSERT(joined(sim.broken) == "");
    }
    sim.compare_with_log();
    heal(sim);
    RC_ASSERT(joined(sim.broken) == "");
    RC_ASSERT(not_come_true(sim) == "");
    sim.compare_with_log();
    RC_ASSERT(joined(sim.broken) == "");

    const auto replay = audit::replay_agent(sim.journal, {});
    RC_ASSERT(joined(replay.not_proven) == "");
    RC_ASSERT(replay.divergences.empty());
    RC_ASSERT(replay.inputs > 0u);
    // Told again with nothing changed, it is the same life: every answer finds its asking, every timer fires.
    const auto told = audit::what_if(sim.journal, {});
    RC_ASSERT(told.has_value());
    RC_ASSERT(!told->departure);
    RC_ASSERT(told->fed == told->inputs);
    RC_ASSERT(told->passed_over + told->not_reached + told->timers == 0u);
    // Whatever is left out, each input has one fate.
    audit::Change change;
    change.input = Sequence{*rc::gen::inRange<std::uint64_t>(1, sim.journal.durable_sequence().value + 1)};
    if (const auto without = audit::what_if(sim.journal, {change}))
      RC_ASSERT(without->fed + without->dropped + without->passed_over + without->not_reached ==
                without->inputs);

    const auto decoded = decode_snapshot(encode_snapshot(sim.state()));
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(joined(AgentSim::differences_of(sim.state(), *decoded)) == "");

    const auto report =
        make_report(sim.state(), {.build = "b", .architecture = "x", .epoch = 1, .as_of = {1}});
    const auto later = make_report(*decoded, {.build = "b", .architecture = "x", .epoch = 1, .as_of = {2}});
    RC_ASSERT(report.digest == later.digest);
    RC_ASSERT(workload::find_secrets(report.json, kSecrets).empty());
    persistence::RawVisitor visitor;
    visitor.event = [](const persistence::RawEvent& event) {
      RC_ASSERT(workload::find_secrets(event.bytes, kSecrets).empty());
      return true;
    };
    RC_ASSERT(sim.journal.read_raw(Sequence{1}, sim.journal.durable_sequence(), visitor).has_value());
  });
  EXPECT_TRUE(held);
}

// ---- the same world, told step by step

TEST(CoreScenario, DeploysInStartupOrderAndConverges) {
  AgentSim sim;
  sim.deploy(document("\"late\":" + docker("i:1", R"("startupOrder":2)") +
                      ",\"early\":" + docker("i:1", R"("startupOrder":1)")));
  EXPECT_EQ(sim.state().deployment.state, DeploymentState::kApplying);
  while (sim.in_flight() != 0) {
    sim.next();
    if (!sim.running("early")) {
      EXPECT_FALSE(sim.running("late"));
    }
  }
  sim.finish_work();
  EXPECT_TRUE(sim.running("early") && sim.running("late"));
  EXPECT_EQ(sim.state().deployment.state, DeploymentState::kApplied);
  EXPECT_EQ(joined(sim.broken), "");
}

TEST(CoreScenario, AModuleThatIsLostForGoodDoesNotHoldUpOthers) {
  AgentSim sim;
  const std::string once = docker("i:1", R"("startupOrder":1,"restartPolicy":"never")");
  sim.deploy(document("\"once\":" + once));
  sim.finish_work();
  sim.vanish("once");
  sim.finish_work();
  EXPECT_FALSE(sim.running("once")) << "policy never";
  sim.deploy(document("\"once\":" + once + ",\"late\":" + docker("i:1", R"("startupOrder":2)")));
  sim.pass(1min);
  EXPECT_TRUE(sim.running("late")) << "once is " << name_of(sim.life("once"));
}

// No machine hears what is not known; that there is one more module is seen by the plan alone.
TEST(CoreScenario, AStrangerOfWhomNothingIsKnownIsPlannedForAtOnce) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1")));
  sim.finish_work();
  Envelope seen;
  seen.sequence = sim.journal.next_sequence();
  ModuleObserved fact{.module = ModuleName("stranger")};
  fact.presence = static_cast<std::uint8_t>(runtime::Presence::kUnknown);
  fact.runtime = AgentSim::kEngine;
  seen.fact = fact;
  AgentCore plans_anew(sim.state());
  const auto decisions = sim.core().take(seen);
  ASSERT_FALSE(decisions.empty());
  EXPECT_EQ(std::get<ModuleTransitioned>(decisions.front().fact).reason, ModuleReason::kDesiredAbsent);
  EXPECT_EQ(decisions, plans_anew.take(seen));
}

TEST(CoreScenario, ARefusedDocumentLeavesTheOldOneRunning) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1")));
  sim.finish_work();
  const auto hash = sim.state().deployment.hash;
  sim.deploy("{\"schemaVersion\":\"9\"}");
  EXPECT_EQ(sim.state().deployment.hash, hash);
  EXPECT_EQ(sim.state().deployment.last_code, 412);
  EXPECT_NE(sim.state().deployment.last_message.find("$.schemaVersion"), std::string::npos);
  EXPECT_TRUE(sim.running("a"));
  EXPECT_EQ(sim.in_flight(), 0u);
}

TEST(CoreScenario, AChangeOfPolicyTouchesNoContainer) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1")));
  sim.finish_work();
  const auto id = sim.engine.at("a").runtime_id;
  sim.deploy(document("\"a\":" + docker("i:1", R"("restartPolicy":"never","version":"2")")));
  sim.finish_work();
  EXPECT_EQ(sim.engine.at("a").runtime_id, id);
  EXPECT_EQ(sim.state().modules.at(ModuleName("a")).life.policy, RestartPolicy::kNever);
  EXPECT_EQ(sim.state().deployment.state, DeploymentState::kApplied);
}

TEST(CoreScenario, AnUpdatePullsBeforeItStops) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1")));
  sim.finish_work();
  const auto id = sim.engine.at("a").runtime_id;
  sim.deploy(document("\"a\":" + docker("i:2")));
  EXPECT_EQ(sim.in_flight(), 1u);
  EXPECT_TRUE(sim.running("a")) << "the old one serves while the new one is pulled";
  sim.finish_work();
  EXPECT_TRUE(sim.running("a"));
  EXPECT_NE(sim.engine.at("a").runtime_id, id);
}

TEST(CoreScenario, ABadUpdateIsRolledBackAndNotTriedAgain) {
  AgentSim sim;
  const std::string more = R"("rollback":{"onFailure":true,"minHealthySecs":20,"deadlineSecs":30})";
  sim.deploy(document("\"a\":" + docker("i:1"), more));
  sim.finish_work();
  sim.pass(25s);
  sim.list();
  ASSERT_EQ(sim.state().deployment.state, DeploymentState::kApplied);
  const auto good = sim.state().deployment.hash;
  const std::string bad = document("\"a\":" + docker("i:2"), more);
  sim.deploy(bad);
  for (int i = 0; i < 100 && sim.state().deployment.hash != good; ++i) {
    sim.finish_work();
    sim.end_run("a", 1);
    sim.pass(3s);
  }
  EXPECT_EQ(sim.state().deployment.hash, good);
  sim.pass(10min);
  EXPECT_EQ(sim.state().deployment.state, DeploymentState::kRolledBack);
  EXPECT_TRUE(sim.running("a"));
  sim.deploy(bad);
  sim.pass(1min);
  EXPECT_EQ(sim.state().deployment.hash, good) << "known to be bad";
  EXPECT_EQ(joined(sim.broken), "");
}

TEST(CoreScenario, ARebootIsNoCrashOfAModule) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1", R"("restartPolicy":"always")")));
  sim.finish_work();
  sim.reboot();
  sim.finish_work();
  EXPECT_TRUE(sim.running("a")) << "at once, without a back-off";
  EXPECT_EQ(sim.state().modules.at(ModuleName("a")).life.restart_count, 0u);
}

TEST(CoreScenario, ColdBootNeedsNoUplink) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1")));
  sim.finish_work();
  sim.link_up = false;
  sim.reboot();
  sim.finish_work();
  EXPECT_TRUE(sim.running("a"));
  EXPECT_NE(sim.state().uplink.state, UplinkState::kConnected);
}

TEST(CoreScenario, ManyCrashesNeverStopTheTries) {
  AgentSim sim;
  sim.deploy(document("\"a\":" + docker("i:1", R"("restart":{"maxTries":3,"slowProbeSecs":60})")));
  for (int i = 0; i < 8; ++i) {
    sim.finish_work();
    sim.end_run("a", 1);
    sim.pass(10min);
  }
  EXPECT_TRUE(sim.running("a"));
  EXPECT_EQ(joined(sim.broken), "");
}

}  // namespace
}  // namespace decklog::agent
