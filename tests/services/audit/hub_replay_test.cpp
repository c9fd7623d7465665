// A hub's log decided again: every connect, refusal and change of the link through this build's machines.
#include <gmock/gmock.h>

#include "events/codec.hpp"
#include "persistence/memory_journal.hpp"
#include "persistence/merkle.hpp"
#include "services/audit/bundle.hpp"
#include "services/audit/replay.hpp"
#include "services/hub/recovery.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::audit {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A hub's life, written as its loop writes it: clients that come, storm, are refused and go, a link that
// fails and comes back, a restart, a stored state.
class HubReplayTest : public testing::Test {
 protected:
  HubReplayTest() {
    start();
    feed(LinkObserved{4, 2, "refused"});
    for (int i = 0; i < 3; ++i) feed(TimerFired{"uplink"}, 60);
    feed(LinkObserved{1, 0, ""});
    client("edge-1/sensor", "connect");
    client("edge-1/sensor", "authenticated", "persistent");
    for (int i = 0; i < 40; ++i) client("edge-1/twin", "connect", "", 0);
    client("edge-1/twin", "refused");
    store_state();
    client("edge-1/sensor", "lost");
    client("edge-1/sensor", "authenticated");  // not possible where it is
    feed(LinkObserved{2, 3, "gone"});
    start();
    client("edge-1/sensor", "connect");
    client("edge-1/sensor", "authenticated", "clean");
    store_state();
    client("edge-1/sensor", "disconnect");
  }

  void start() {
    ServiceStarted started;
    started.service = "hub";
    started.device = "edge-1";
    started.settings = hub::settings_json(hub::HubState{});
    feed(std::move(started));
  }
  void client(const std::string& name, const char* what, const char* detail = "", int after_s = 1) {
    feed(ClientObserved{name, what, "", "127.0.0.1:1", detail}, after_s);
  }
  void feed(Fact fact, int after_s = 1) {
    Envelope input = envelope(std::move(fact), after_s);
    input.random = 0x9e3779b97f4a7c15 * input.sequence.value;
    std::vector<Envelope> step{input};
    for (auto& decision : core_.take(input)) step.push_back(std::move(decision));
    journal_.append(step, [](Status done) { EXPECT_TRUE(done); });
  }
  void store_state() {
    const std::string bytes = core_.snapshot();
    const Sequence through = journal_.durable_sequence();
    journal_.put_snapshot({through, std::string(persistence::kStateSnapshot), bytes}, [](Status) {});
    const std::vector<Envelope> note{envelope(SnapshotTaken{
        through.value, persistence::to_hex(persistence::Sha256()({std::string_view(bytes)})), bytes.size()})};
    core_.fold(note.front());
    journal_.append(note, [](Status) {});
  }
  Envelope envelope(Fact fact, int after_s = 0) {
    now_.wall.ns += after_s * 1'000'000'000LL;
    now_.mono.ns += after_s * 1'000'000'000LL;
    Envelope event;
    event.sequence = journal_.next_sequence();
    event.stream = stream_of(fact);
    event.time = now_;
    event.build = "sim";
    event.fact = std::move(fact);
    return event;
  }
  // `change` may alter an event; false leaves it out.
  std::unique_ptr<BundleReader> bundle(const std::function<bool(Envelope&)>& change,
                                       Sequence from = Sequence{1}) {
    const std::string path = directory_.path("log.dlb");
    BundleWriter writer(path, journal_.epoch());
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      Envelope copy = event;
      if (change(copy))
        writer.event(copy.sequence, encode(copy));
      else
        writer.missing({GapKind::kDamaged, event.sequence, event.sequence, "by the test"});
      return true;
    };
    visitor.missing = [](const persistence::MissingRange&) { return true; };
    EXPECT_TRUE(journal_.read(from, journal_.durable_sequence(), visitor));
    for (Sequence at = journal_.durable_sequence(); at;) {
      const auto stored = journal_.latest_snapshot(persistence::kStateSnapshot, at);
      if (!stored) break;
      writer.snapshot(stored->through, stored->bytes);
      at = Sequence{stored->through.value - 1};
    }
    EXPECT_TRUE(writer.finish());
    auto reader = BundleReader::open(path);
    EXPECT_TRUE(reader) << describe(reader.error());
    return std::move(*reader);
  }

  decklog::test::TempDir directory_;
  persistence::MemoryJournal journal_;
  hub::HubCore core_;
  Instant now_{{1'800'000'000'000'000'000}, {1'000'000'000'000}};
};

TEST_F(HubReplayTest, AnHonestLogIsDecidedAlike) {
  const auto report = replay_log(journal_, {});
  EXPECT_THAT(report.divergences, IsEmpty());
  EXPECT_THAT(report.state_problems, IsEmpty());
  EXPECT_THAT(report.not_proven, IsEmpty());
  EXPECT_EQ(report.states_matched, 2u);
  EXPECT_GT(report.inputs, 50u);
  EXPECT_GT(report.decisions, 50u);
  EXPECT_EQ(report.state_hash,
            persistence::to_hex(persistence::Sha256()({std::string_view(core_.snapshot())})));
  EXPECT_EQ(replay_log(*bundle([](Envelope&) { return true; }), {}).state_hash, report.state_hash);
}

TEST_F(HubReplayTest, ADecisionThatThisBuildWouldNotMakeIsToldWithItsCause) {
  Sequence changed, cause;
  const auto log = bundle([&](Envelope& event) {
    auto* decision = std::get_if<ClientTransitioned>(&event.fact);
    if (decision && decision->life.storming && !changed) {
      decision->life.storming = false;
      changed = event.sequence;
      cause = event.cause;
    }
    return true;
  });
  const auto report = replay_log(*log, {});
  ASSERT_FALSE(report.divergences.empty());
  const Divergence& first = report.divergences.front();
  EXPECT_EQ(first.input, cause);
  ASSERT_TRUE(first.expected && first.got);
  EXPECT_EQ(first.expected->sequence, changed);
  ASSERT_THAT(first.fields, SizeIs(1));
  EXPECT_THAT(first.fields.front().path, HasSubstr("storming"));
  EXPECT_THAT(first.input_text, HasSubstr("client/edge-1/twin"));
  EXPECT_FALSE(first.chain.empty());
}

TEST_F(HubReplayTest, TheLinksDrawsAreDecidedAgainToo) {
  bool changed = false;
  const auto report = replay_log(*bundle([&](Envelope& event) {
    auto* decision = std::get_if<UplinkTransitioned>(&event.fact);
    if (decision && decision->life.backoff_wait_ns > 0 && !std::exchange(changed, true))
      decision->life.backoff_wait_ns += 1;
    return true;
  }),
                                 {.most = 1});
  ASSERT_TRUE(changed);
  ASSERT_THAT(report.divergences, SizeIs(1));
  EXPECT_THAT(report.divergences[0].fields.at(0).path, HasSubstr("backoff_wait_ns"));
}

TEST_F(HubReplayTest, BehindAHoleNothingIsComparedUntilTheStateIsKnown) {
  const auto report = replay_log(*bundle([](Envelope& event) { return event.sequence.value != 9; }), {});
  EXPECT_THAT(report.divergences, IsEmpty());
  ASSERT_FALSE(report.not_proven.empty());
  EXPECT_THAT(report.not_proven.front(), HasSubstr("not comparable"));
  EXPECT_GT(report.seen_from.value, 9u);
}

// The beginning is not kept any more: the state that was stored says whose log it is.
TEST_F(HubReplayTest, ALogWithoutItsBeginningIsKnownByItsState) {
  const auto stored = journal_.latest_snapshot(persistence::kStateSnapshot, journal_.durable_sequence());
  ASSERT_TRUE(stored);
  const auto log = bundle([](Envelope&) { return true; }, stored->through.next());
  const auto report = replay_log(*log, {.from = stored->through.next()});
  EXPECT_THAT(report.divergences, IsEmpty());
  EXPECT_EQ(report.inputs, 1u);
  EXPECT_EQ(report.decisions, 1u);
}

}  // namespace
}  // namespace decklog::audit
