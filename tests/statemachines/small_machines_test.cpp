// Uplink, Deployment and ClientSession: their stories, and a walk over every life that takes every row and
// asks every pair.
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "statemachines/client_table.hpp"
#include "statemachines/deployment_table.hpp"
#include "statemachines/uplink_table.hpp"

namespace decklog::statemachines {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

struct Coverage {
  std::set<const RowName*> taken;
  std::set<std::pair<int, std::size_t>> answered;  // state, input
};

// Breadth first over all lives that differ in shape; every pair of every state met is asked.
template <class Table, class Life, class Input, class Context, class StepFn, class Shape>
void walk(const std::vector<Input>& inputs, Context context, StepFn step_fn, Shape shape,
          const std::vector<std::int64_t>& delays, std::size_t max_lives, Coverage& covered) {
  std::set<std::string> seen{shape(Life{})};
  std::deque<std::pair<Life, std::int64_t>> open{{Life{}, 1000 * kSecond}};
  std::uint64_t random = 1;
  while (!open.empty()) {
    const auto [life, at] = open.front();
    open.pop_front();
    for (const Input& input : inputs) {
      for (std::int64_t delay : delays) {
        context.now.ns = at + delay;
        context.random = random *= 6364136223846793005ull;
        RowTrace trace;
        const auto step = step_fn(life, input, context, trace);
        covered.answered.insert({static_cast<int>(life.state), input.index()});
        const Pair pair = Table::kPairs.at(life.state, input.index());
        if (pair == Pair::kIgnored) {
          ASSERT_EQ(step.verdict, Verdict::kIgnored) << step.trigger;
        } else if (pair == Pair::kRejected) {
          ASSERT_EQ(step.verdict, Verdict::kRejected) << step.trigger;
        }
        if (step.verdict != Verdict::kTaken) {
          ASSERT_EQ(step.next, life);
          ASSERT_EQ(step.effects, 0u);
          continue;
        }
        ASSERT_EQ(trace.count, 1u);
        covered.taken.insert(trace.rows[0]);
        RowTrace unread;
        ASSERT_EQ(step_fn(life, input, context, unread).next, step.next);
        if (seen.size() < max_lives && seen.insert(shape(step.next)).second)
          open.push_back({step.next, context.now.ns});
      }
    }
  }
}

template <class Table>
void expect_all(const Coverage& covered) {
  EXPECT_EQ(covered.answered.size(),
            mp::mp_size<typename Table::States>::value * mp::mp_size<typename Table::Inputs>::value);
  for (const RowName* row : row_names<typename Table::Rows>())
    EXPECT_TRUE(covered.taken.contains(row)) << row->source << " --" << row->event << "--> " << row->target
                                             << " / " << row->action << " is never taken";
}

// ---- Uplink -------------------------------------------------------------------------------------

struct Link {
  UplinkLife life;
  UplinkContext context{{MonoTime{100 * kSecond}, 0x8000'0000'0000'0000ull}, {}};
  Step<UplinkLife> last;
  void feed(const UplinkInput& input) {
    last = step(life, input, context);
    life = last.next;
  }
  void fire() {
    context.now.ns = std::max(context.now.ns, life.deadline_mono_ns);
    feed(UplinkTimerFired{});
  }
};

TEST(Uplink, ConnectsPingsAndNoticesSilence) {
  Link link;
  link.feed(LinkWanted{});
  EXPECT_EQ(link.last.effects, std::uint32_t{kConnect | kArmUplinkTimer});
  link.feed(LinkEstablished{});
  EXPECT_EQ(link.life.state, UplinkState::kConnected);
  EXPECT_TRUE(link.last.effects & kLinkUp);
  link.fire();
  EXPECT_TRUE(link.last.effects & kPing);
  EXPECT_EQ(step(link.life, PingAnswered{}, link.context).verdict, Verdict::kIgnored);
  link.feed(PingMissed{});
  EXPECT_EQ(link.life.state, UplinkState::kSuspect);
  EXPECT_TRUE(link.last.effects & kPing);
  link.feed(PingAnswered{});
  EXPECT_EQ(link.life.state, UplinkState::kConnected);
  link.feed(PingMissed{});
  link.feed(PingMissed{});
  EXPECT_EQ(link.life.state, UplinkState::kBackingOff);
  EXPECT_EQ(link.life.cause, uplink::kCausePingMissed);
  EXPECT_EQ(link.last.effects & (kLinkDown | kDisconnect), std::uint32_t{kLinkDown | kDisconnect});
}

TEST(Uplink, BackoffDoublesWithFullJitterAndStartsOverOnlyAfterAStableLink) {
  Link link;
  link.feed(LinkWanted{});
  std::vector<std::int64_t> steps;
  for (int i = 0; i < 9; ++i) {
    link.feed(LinkFailed{2});
    EXPECT_EQ(link.life.cause, 2);
    steps.push_back(link.life.backoff_step_ns / kSecond);
    EXPECT_GE(link.life.backoff_wait_ns, 0);
    EXPECT_LE(link.life.backoff_wait_ns, link.life.backoff_step_ns);
    link.fire();
  }
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 2, 4, 8, 16, 32, 64, 120, 120}));
  link.feed(LinkEstablished{});
  link.context.now.ns += 5 * kSecond;  // a link that flaps is no stable link
  link.feed(LinkLost{6});
  EXPECT_EQ(link.life.backoff_step_ns, 120 * kSecond);
  link.fire();
  link.feed(LinkEstablished{});
  link.context.now.ns += 61 * kSecond;
  link.feed(LinkLost{6});
  EXPECT_EQ(link.life.backoff_step_ns, 1 * kSecond);
}

TEST(Uplink, FullJitterReachesBothEnds) {
  for (std::uint64_t random : {std::uint64_t{0}, ~std::uint64_t{0}}) {
    Link link;
    link.context.random = random;
    link.feed(LinkWanted{});
    link.feed(LinkFailed{1});
    EXPECT_EQ(link.life.backoff_wait_ns, random == 0 ? 0 : kSecond);
    EXPECT_GT(link.life.deadline_mono_ns, 0);
  }
}

TEST(Uplink, RefusedCredentialsAreTriedSlowlyAndNewOnesAtOnce) {
  Link link;
  link.feed(LinkWanted{});
  link.feed(LinkRefused{5});
  EXPECT_EQ(link.life.state, UplinkState::kRefused);
  EXPECT_GE(link.life.backoff_wait_ns, 150 * kSecond);
  EXPECT_LE(link.life.backoff_wait_ns, 300 * kSecond);
  link.feed(CredentialsChanged{});
  EXPECT_EQ(link.life.state, UplinkState::kConnecting);
  EXPECT_TRUE(link.last.effects & kConnect);
}

TEST(Uplink, AnAttemptHasADeadlineAndALateSuccessIsDropped) {
  Link link;
  link.feed(LinkWanted{});
  link.fire();
  EXPECT_EQ(link.life.state, UplinkState::kBackingOff);
  EXPECT_EQ(link.life.cause, uplink::kCauseTimeout);
  link.feed(LinkEstablished{});
  EXPECT_EQ(link.life.state, UplinkState::kBackingOff);
  EXPECT_EQ(link.last.effects, std::uint32_t{kDisconnect});
}

TEST(Uplink, UnwantedClosesAndARestartForgets) {
  Link link;
  link.feed(LinkWanted{});
  link.feed(LinkEstablished{});
  link.feed(LinkUnwanted{});
  EXPECT_EQ(link.life.state, UplinkState::kDisconnected);
  EXPECT_TRUE(link.last.effects & kLinkDown);
  EXPECT_TRUE(link.last.effects & kCancelUplinkTimer);
  link.feed(LinkWanted{});
  link.feed(UplinkRestarted{});
  EXPECT_EQ(link.life.state, UplinkState::kDisconnected);
  EXPECT_EQ(link.life.deadline_mono_ns, 0);
}

TEST(Uplink, EveryRowIsTaken) {
  const std::vector<UplinkInput> inputs = {
      LinkWanted{},   LinkUnwanted{}, LinkEstablished{},  LinkFailed{1},        LinkRefused{5},   LinkLost{6},
      PingAnswered{}, PingMissed{},   UplinkTimerFired{}, CredentialsChanged{}, UplinkRestarted{}};
  Coverage covered;
  for (std::uint32_t missed_max : {1u, 3u}) {
    UplinkContext context;
    context.settings.pings_missed_max = missed_max;
    walk<uplink::Table, UplinkLife>(
        inputs, context, uplink::step_traced,
        [](const UplinkLife& l) {
          return std::to_string(int(l.state)) + "/" + std::to_string(std::min(l.attempt, 9u)) + "/" +
                 std::to_string(l.missed_pings) + (l.deadline_mono_ns != 0 ? "t" : "");
        },
        {0, 30 * kSecond, 400 * kSecond}, 500, covered);
  }
  expect_all<uplink::Table>(covered);
}

// ---- Deployment ---------------------------------------------------------------------------------

struct Rollout {
  DeploymentLife life;
  Context context{MonoTime{100 * kSecond}, 1};
  DeploymentStep last;
  Verdict feed(const DeploymentInput& input) {
    last = step(life, input, context);
    life = last.next;
    return last.verdict;
  }
  void wait(std::int64_t seconds) { context.now.ns += seconds * kSecond; }
};
DocumentAccepted document(std::uint64_t version, const std::string& hash, bool rollback = true) {
  return {version, hash, rollback, 10 * kSecond, 60 * kSecond};
}

TEST(Deployment, IsAppliedOnceItWasHealthyLongEnough) {
  Rollout rollout;
  rollout.feed(document(1, "a"));
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplying);
  EXPECT_EQ(rollout.last.effects, std::uint32_t{kApplyDocument | kArmDeploymentTimer | kReportDeployment});
  EXPECT_EQ(rollout.feed(Converged{}), Verdict::kTaken);
  EXPECT_EQ(rollout.feed(Converged{}), Verdict::kIgnored);
  rollout.wait(5);
  rollout.feed(Diverged{});
  EXPECT_EQ(rollout.life.healthy_since_mono_ns, 0);
  rollout.feed(Converged{});
  rollout.wait(10);
  rollout.feed(DeploymentTimerFired{});
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplied);
  EXPECT_EQ(rollout.life.good_hash, "a");
  EXPECT_TRUE(rollout.last.effects & kKeepGoodDocument);
  EXPECT_EQ(rollout.life.last_code, 200);
}

TEST(Deployment, RollsBackToTheLastGoodOneAndDoesNotRetryTheBadOne) {
  Rollout rollout;
  rollout.feed(document(1, "a"));
  rollout.feed(Converged{});
  rollout.wait(10);
  rollout.feed(DeploymentTimerFired{});
  rollout.feed(document(2, "b"));
  rollout.wait(60);
  rollout.feed(DeploymentTimerFired{});
  EXPECT_EQ(rollout.life.state, DeploymentState::kRollingBack);
  EXPECT_TRUE(rollout.last.effects & kApplyGoodDocument);
  EXPECT_EQ(rollout.life.hash, "a");
  EXPECT_EQ(rollout.life.last_code, 500);
  EXPECT_EQ(rollout.life.last_version, 2u);
  rollout.feed(Converged{});
  EXPECT_EQ(rollout.life.state, DeploymentState::kRolledBack);
  EXPECT_EQ(rollout.feed(document(2, "b")), Verdict::kIgnored);
  rollout.feed(document(3, "b"));
  EXPECT_EQ(rollout.life.state, DeploymentState::kRolledBack);
  EXPECT_EQ(rollout.last.reason, DeploymentReason::kKnownBad);
  rollout.feed(document(4, "c"));
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplying);
  EXPECT_EQ(rollout.life.bad_hash, "");
}

TEST(Deployment, FailsWhereThereIsNothingToGoBackToAndStillSucceedsLate) {
  Rollout rollout;
  rollout.feed(document(1, "a"));
  rollout.wait(61);
  rollout.feed(DeploymentTimerFired{});
  EXPECT_EQ(rollout.life.state, DeploymentState::kFailed);
  EXPECT_EQ(rollout.last.reason, DeploymentReason::kNoGoodVersion);
  rollout.feed(Converged{});
  rollout.wait(10);
  rollout.feed(DeploymentTimerFired{});
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplied);
  EXPECT_EQ(rollout.life.last_code, 200);
}

TEST(Deployment, ARefusedDocumentChangesNothingButTheAnswer) {
  Rollout rollout;
  rollout.feed(document(1, "a"));
  rollout.feed(Converged{});
  rollout.wait(10);
  rollout.feed(DeploymentTimerFired{});
  rollout.feed(DocumentRejected{2, 412, "$.schemaVersion: 2.0 is not supported"});
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplied);
  EXPECT_EQ(rollout.life.hash, "a");
  EXPECT_EQ(rollout.life.version, 1u);
  EXPECT_EQ(rollout.life.last_version, 2u);
  EXPECT_EQ(rollout.life.last_code, 412);
  EXPECT_EQ(rollout.feed(DocumentRejected{2, 412, "$.schemaVersion: 2.0 is not supported"}),
            Verdict::kIgnored);
  rollout.feed(document(3, "a"));  // what was in force is sent again
  EXPECT_EQ(rollout.last.reason, DeploymentReason::kUnchanged);
  EXPECT_EQ(rollout.life.last_code, 200);
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplied);
}

TEST(Deployment, ARebootGivesTheWholeTimeAgain) {
  Rollout rollout;
  rollout.feed(document(1, "a"));
  rollout.wait(50);
  rollout.context.now.ns = 3 * kSecond;
  rollout.feed(DeploymentRebooted{});
  EXPECT_EQ(rollout.life.deadline_mono_ns, 63 * kSecond);
  EXPECT_EQ(rollout.feed(DeploymentTimerFired{}), Verdict::kIgnored);
}

TEST(Deployment, DivergedAndConvergedAgainIsToldOnceEach) {
  Rollout rollout;
  rollout.feed(DocumentAccepted{1, "a", false, 0, 0});
  EXPECT_FALSE(rollout.last.effects & kArmDeploymentTimer);
  rollout.feed(Converged{});
  EXPECT_EQ(rollout.life.state, DeploymentState::kApplied);
  EXPECT_EQ(rollout.feed(Diverged{}), Verdict::kTaken);
  EXPECT_EQ(rollout.feed(Diverged{}), Verdict::kIgnored);
  EXPECT_EQ(rollout.feed(Converged{}), Verdict::kTaken);
  EXPECT_EQ(rollout.feed(Converged{}), Verdict::kIgnored);
}

TEST(Deployment, EveryRowIsTaken) {
  const std::vector<DeploymentInput> inputs = {document(1, "a"),
                                               document(2, "a"),
                                               document(3, "b"),
                                               document(4, "b"),
                                               document(5, "c", false),
                                               DocumentAccepted{6, "d", true, 0, 0},
                                               DocumentRejected{7, 400, "$: not JSON"},
                                               Converged{},
                                               Diverged{},
                                               DeploymentTimerFired{},
                                               DeploymentRebooted{}};
  Coverage covered;
  walk<deployment::Table, DeploymentLife>(
      inputs, Context{}, deployment::step_traced,
      [](const DeploymentLife& l) {
        return std::to_string(int(l.state)) + l.hash + "/" + l.good_hash + "/" + l.bad_hash + "/" +
               std::to_string(l.last_version) + (l.healthy_since_mono_ns != 0 ? "h" : "") +
               (l.deadline_mono_ns != 0 ? "t" : "");
      },
      {0, 15 * kSecond, 90 * kSecond}, 1500, covered);
  expect_all<deployment::Table>(covered);
  for (int reason = 1; reason <= 11; ++reason)
    EXPECT_NE(reason_text(static_cast<DeploymentReason>(reason), DeploymentLife{}), "unknown reason");
}

// ---- ClientSession ------------------------------------------------------------------------------

struct Client {
  ClientLife life;
  ClientContext context{{MonoTime{100 * kSecond}, 1}, {}};
  Step<ClientLife> last;
  Verdict feed(const ClientInput& input) {
    last = step(life, input, context);
    life = last.next;
    return last.verdict;
  }
  void connect(bool persistent) {
    feed(ClientArrived{});
    feed(ClientAuthenticated{persistent});
  }
};

TEST(ClientSession, APersistentSessionOutlivesItsConnection) {
  Client client;
  client.connect(true);
  EXPECT_EQ(client.life.state, ClientState::kConnected);
  EXPECT_EQ(client.last.effects, std::uint32_t{kAcceptClient | kReportClient});
  client.feed(ClientLost{});
  EXPECT_EQ(client.life.state, ClientState::kSuspended);
  client.feed(HubRestarted{});
  EXPECT_EQ(client.life.state, ClientState::kSuspended);
  client.connect(false);  // a clean session: what was kept is dropped
  EXPECT_TRUE(client.last.effects & kDropSession);
  client.feed(ClientDisconnected{});
  EXPECT_EQ(client.life.state, ClientState::kClosed);
}

TEST(ClientSession, ANewerConnectionTakesOver) {
  Client client;
  client.connect(true);
  client.feed(ClientArrived{});
  EXPECT_EQ(client.life.state, ClientState::kConnected);
  client.feed(ClientReplaced{});
  EXPECT_EQ(client.life.state, ClientState::kTakenOver);
  client.feed(ClientAuthenticated{true});
  EXPECT_EQ(client.life.state, ClientState::kConnected);
}

TEST(ClientSession, ASuccessorThatDiesBeforeItsAnswerLeavesNoGhost) {
  for (const bool persistent : {true, false}) {
    Client client;
    client.connect(persistent);
    client.feed(ClientArrived{});
    client.feed(ClientReplaced{});
    client.feed(ClientLost{});  // the newer one's: the older one's end was the takeover
    EXPECT_EQ(client.life.state, persistent ? ClientState::kSuspended : ClientState::kClosed);
    EXPECT_TRUE(client.last.effects & kReportClient);
    client.connect(persistent);
    EXPECT_EQ(client.life.state, ClientState::kConnected);
  }
}

TEST(ClientSession, ANewcomerWithAWrongTokenDisturbsNobody) {
  Client client;
  client.connect(true);
  client.feed(ClientArrived{});
  client.feed(ClientRefusedAuth{});
  EXPECT_EQ(client.life.state, ClientState::kConnected);
  EXPECT_EQ(client.last.effects, std::uint32_t{kRefuseClient});
}

TEST(ClientSession, AStormIsPutOffUntilItsWindowIsOver) {
  Client client;
  int put_off = 0;
  for (int i = 0; i < 100; ++i) {
    client.feed(ClientArrived{});
    if (client.last.effects & kDelayConnect)
      ++put_off;
    else
      client.feed(ClientAuthenticated{true});
    client.context.now.ns += kSecond / 100;
  }
  EXPECT_EQ(put_off, 90);
  EXPECT_TRUE(client.life.storming);
  EXPECT_EQ(client.life.state, ClientState::kConnected);  // whoever was there stays
  client.context.now.ns += 10 * kSecond;
  client.feed(ClientArrived{});
  EXPECT_FALSE(client.life.storming);
  EXPECT_TRUE(client.last.effects & kAuthenticate);
}

TEST(ClientSession, ADisabledIdentityIsClosedAndItsSessionGone) {
  Client client;
  client.connect(true);
  client.feed(ClientDisabled{});
  EXPECT_EQ(client.life.state, ClientState::kRefused);
  EXPECT_EQ(client.last.effects & (kCloseOldConnection | kDropSession),
            std::uint32_t{kCloseOldConnection | kDropSession});
  client.feed(ClientLost{});
  EXPECT_EQ(client.life.state, ClientState::kClosed);
  EXPECT_EQ(client.feed(ClientAuthenticated{true}), Verdict::kRejected);
}

TEST(ClientSession, EveryRowIsTaken) {
  const std::vector<ClientInput> inputs = {
      ClientArrived{},     ClientAuthenticated{true}, ClientAuthenticated{false},
      ClientRefusedAuth{}, ClientDisconnected{},      ClientLost{},
      ClientReplaced{},    ClientSessionEnded{},      ClientDisabled{},
      HubRestarted{}};
  ClientContext context;
  context.settings.storm_connects = 2;
  Coverage covered;
  walk<client::Table, ClientLife>(
      inputs, context, client::step_traced,
      [](const ClientLife& l) {
        return std::to_string(int(l.state)) + (l.persistent ? "p" : "") + (l.storming ? "s" : "") + "/" +
               std::to_string(std::min(l.connects, 4u)) + (l.connected_since_mono_ns != 0 ? "c" : "");
      },
      {0, 20 * kSecond}, 500, covered);
  expect_all<client::Table>(covered);
}

}  // namespace
}  // namespace decklog::statemachines
