// The tally and the tree follow the journal itself: whenever one starts to look, it sees the same.
#include "services/agent/metrics_follower.hpp"

#include <gtest/gtest.h>

#include "persistence/memory_journal.hpp"
#include "tests/events/sample_facts.hpp"

namespace decklog::agent {
namespace {

class FollowerTest : public testing::Test {
 protected:
  void append(Fact fact) {
    Envelope event;
    event.sequence = journal_.next_sequence();
    event.boot = BootId("boot-1");
    event.time.mono = {static_cast<std::int64_t>(event.sequence.value) * 1'000'000'000};
    event.stream = stream_of(fact);
    event.fact = std::move(fact);
    journal_.append(std::vector<Envelope>{event}, [](Status status) { EXPECT_TRUE(status); });
    ASSERT_TRUE(journal_.flush());
  }
  void append_some(std::size_t count) {
    fixture::Numbers numbers(journal_.next_sequence().value);
    for (std::size_t i = 0; i < count; ++i)
      append(fixture::make_fact(1 + numbers() % (kFactTypes - 1), numbers, fixture::TextKind::kPlain));
  }
  void step(ModuleState from, ModuleState to) {
    append(ModuleTransitioned{.module = ModuleName("sensor"), .from = from, .to = to});
  }

  persistence::MemoryJournal journal_;
};

TEST_F(FollowerTest, SeesTheSameWheneverItBegins) {
  JournalFollower early(journal_, {});
  EXPECT_EQ(early.tree().size(), 0u);
  append_some(30);
  EXPECT_EQ(early.behind(), 30u);
  early.catch_up();
  EXPECT_EQ(early.behind(), 0u);
  append_some(25);
  early.catch_up();
  early.catch_up();
  const JournalFollower late(journal_, {});
  EXPECT_EQ(early.tree().size(), 55u);
  EXPECT_EQ(early.tree().root(), late.tree().root());
  EXPECT_EQ(early.tally().to_json(), late.tally().to_json());
  EXPECT_EQ(early.tally().through, Sequence{55});
}

TEST_F(FollowerTest, GoesOnFromWhatItSaved) {
  append_some(20);
  JournalFollower first(journal_, {});
  first.save_tally();
  first.save_tree();
  append_some(20);
  const JournalFollower second(journal_, {});
  first.catch_up();
  EXPECT_EQ(second.tree().root(), first.tree().root());
  EXPECT_EQ(second.tally().to_json(), first.tally().to_json());
}

TEST_F(FollowerTest, CountsAgainWhenTheSavedTallyDoesNotRead) {
  append_some(20);
  journal_.put_snapshot({Sequence{20}, std::string(observability::kTallySnapshot), "damaged"}, [](Status) {});
  ASSERT_TRUE(journal_.flush());
  const JournalFollower follower(journal_, {});
  EXPECT_EQ(follower.tally().through, Sequence{20});
}

TEST_F(FollowerTest, KnowsWhichDecisionsTheFleetHasNotSeen) {
  step(ModuleState::kStopped, ModuleState::kCreating);
  step(ModuleState::kCreating, ModuleState::kStarting);
  append(TimerFired{"tick"});
  step(ModuleState::kStarting, ModuleState::kStarting);  // changes nothing people see
  step(ModuleState::kStarting, ModuleState::kRunning);
  JournalFollower follower(journal_, Sequence{1});
  EXPECT_EQ(follower.unreported(Sequence{1}), 2u);
  EXPECT_EQ(follower.unreported(Sequence{2}), 1u);
  EXPECT_EQ(follower.unreported(Sequence{5}), 0u);
  append(DeploymentTransitioned{});
  follower.catch_up();
  EXPECT_EQ(follower.unreported(Sequence{5}), 1u);
}

}  // namespace
}  // namespace decklog::agent
