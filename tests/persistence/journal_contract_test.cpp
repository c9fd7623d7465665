// What every Journal promises, held against each implementation.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "events/codec.hpp"
#include "persistence/memory_journal.hpp"
#include "persistence/rocks_journal.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {

struct MemoryMaker {
  std::unique_ptr<Journal> make(std::uint64_t budget, JournalHooks hooks) {
    return std::make_unique<MemoryJournal>(
        MemoryJournal::Options{.budget_bytes = budget, .hooks = std::move(hooks)});
  }
};

struct RocksMaker {
  std::unique_ptr<Journal> make(std::uint64_t budget, JournalHooks hooks) {
    auto journal =
        RocksJournal::open({.directory = dir.path() / "journal", .budget_bytes = budget, .hooks = hooks});
    if (!journal) throw std::runtime_error(describe(journal.error()));
    return std::move(*journal);
  }
  TempDir dir;
};

template <class Maker>
class JournalContract : public testing::Test {
 protected:
  std::unique_ptr<Journal> open(std::uint64_t budget = kDefaultBudgetBytes, JournalHooks hooks = {}) {
    return maker_.make(budget, std::move(hooks));
  }
  Maker maker_;
};

using Makers = testing::Types<MemoryMaker, RocksMaker>;
TYPED_TEST_SUITE(JournalContract, Makers);

TYPED_TEST(JournalContract, StartsEmptyAtSequenceOne) {
  const auto journal = this->open();
  EXPECT_EQ(journal->next_sequence().value, 1u);
  EXPECT_FALSE(journal->first_sequence());
  EXPECT_FALSE(journal->durable_sequence());
  EXPECT_TRUE(read_all(*journal).empty());
  EXPECT_NE(journal->epoch(), 0u);
  EXPECT_EQ(journal->leaf_salt().size(), 32u);
}

TYPED_TEST(JournalContract, ReadsBackEveryFieldOfWhatWasAppended) {
  const auto journal = this->open();
  std::vector<Envelope> expected = events_from(1, 3);
  expected[1].actor = Actor("uid:1000 (anna)");
  expected[1].correlation = Correlation("deployment/12");
  expected[2].may_ignore = true;
  ASSERT_TRUE(append_now(*journal, expected));
  EXPECT_EQ(journal->next_sequence().value, 4u);
  EXPECT_EQ(journal->durable_sequence().value, 3u);
  EXPECT_EQ(journal->first_sequence().value, 1u);
  EXPECT_EQ(read_all(*journal), expected);
}

TYPED_TEST(JournalContract, RunsDoneOnceForEachStepInOrder) {
  const auto journal = this->open();
  DoneLog done;
  std::uint64_t next = 1;
  for (std::size_t step = 0; step < 300; ++step) {
    const std::size_t size = 1 + step % 7;
    journal->append(events_from(next, size), done.expect());
    next += size;
    EXPECT_EQ(journal->next_sequence().value, next);
  }
  ASSERT_TRUE(done.wait());
  const auto order = done.order();
  ASSERT_EQ(order.size(), 300u);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i);
  for (const Status& status : done.results()) EXPECT_TRUE(status);
  EXPECT_EQ(read_all(*journal), events_from(1, next - 1));
  EXPECT_EQ(journal->stats().events, next - 1);
}

TYPED_TEST(JournalContract, RefusesAnotherSequenceThanTheNextAndStoresNothingOfTheStep) {
  const auto journal = this->open();
  ASSERT_TRUE(append_now(*journal, events_from(1, 4)));
  for (const std::uint64_t wrong : {1ull, 4ull, 6ull, 0ull}) {
    const Status status = append_now(*journal, {event_at(wrong)});
    ASSERT_TRUE(status.has_error());
    EXPECT_EQ(status.error().code, Errc::kConflict);
  }
  const Status torn = append_now(*journal, {event_at(5), event_at(7)});
  ASSERT_TRUE(torn.has_error());
  EXPECT_EQ(torn.error().code, Errc::kConflict);
  EXPECT_EQ(read_all(*journal), events_from(1, 4));
  EXPECT_TRUE(append_now(*journal, {event_at(5)}));
  EXPECT_EQ(read_all(*journal), events_from(1, 5));
}

TYPED_TEST(JournalContract, RefusesEmptyStepsStreamlessEventsAndOversizedEvents) {
  const auto journal = this->open();
  const Status empty = append_now(*journal, {});
  ASSERT_TRUE(empty.has_error());
  EXPECT_EQ(empty.error().code, Errc::kInvalidArgument);
  const Status streamless = append_now(*journal, {envelope(1, {""}, Remarked{})});
  ASSERT_TRUE(streamless.has_error());
  EXPECT_EQ(streamless.error().code, Errc::kInvalidArgument);
  Remarked large;
  large.text.assign(kMaxEventBytes + 1, 'x');
  const Status oversized = append_now(*journal, {envelope(1, StreamId::service(), large)});
  ASSERT_TRUE(oversized.has_error());
  EXPECT_EQ(oversized.error().code, Errc::kTooLarge);
  EXPECT_TRUE(append_now(*journal, {event_at(1)}));
  EXPECT_EQ(read_all(*journal), events_from(1, 1));
}

TYPED_TEST(JournalContract, FlushTellsTheFirstFailureOnce) {
  const auto journal = this->open();
  EXPECT_TRUE(journal->flush());
  journal->append(events_from(7, 1), {});
  journal->append(events_from(1, 1), {});
  const Status status = journal->flush();
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::kConflict);
  EXPECT_TRUE(journal->flush());
  EXPECT_EQ(read_all(*journal), events_from(1, 1));
}

TYPED_TEST(JournalContract, ReadsRangesAndStopsWhenTold) {
  const auto journal = this->open();
  ASSERT_TRUE(append_now(*journal, events_from(1, 50)));
  ASSERT_TRUE(append_now(*journal, events_from(51, 50)));
  std::vector<Envelope> got;
  ASSERT_TRUE(journal->read({40}, {60}, {[&](const Envelope& event) {
                              got.push_back(event);
                              return true;
                            }}));
  EXPECT_EQ(got, events_from(40, 21));
  got.clear();
  ASSERT_TRUE(journal->read({10}, {60}, {[&](const Envelope& event) {
                              got.push_back(event);
                              return got.size() < 5;
                            }}));
  EXPECT_EQ(got, events_from(10, 5));
  std::size_t beyond = 0;
  ASSERT_TRUE(journal->read({101}, {~0ull}, {[&](const Envelope&) { return ++beyond > 0; }}));
  EXPECT_EQ(beyond, 0u);
}

TYPED_TEST(JournalContract, RawEventsAreTheEncodedOnesWithTheirClass) {
  const auto journal = this->open();
  ASSERT_TRUE(append_now(*journal, events_from(1, 20)));
  std::uint64_t next = 1;
  ASSERT_TRUE(journal->read_raw({1}, {~0ull}, {[&](const RawEvent& event) {
                                  EXPECT_EQ(event.sequence.value, next);
                                  EXPECT_EQ(event.lifecycle, next % 4 == 0);
                                  EXPECT_EQ(event.bytes, encode(event_at(next)));
                                  ++next;
                                  return true;
                                }}));
  EXPECT_EQ(next, 21u);
}

TYPED_TEST(JournalContract, ReadsOneStreamInOrder) {
  const auto journal = this->open();
  for (std::uint64_t first = 1; first < 3000; first += 30)
    ASSERT_TRUE(append_now(*journal, events_from(first, 30)));
  ASSERT_TRUE(append_now(*journal, {envelope(3001, StreamId::uplink(), LinkObserved{})}));
  ASSERT_TRUE(append_now(*journal, events_from(3002, 10)));
  std::vector<std::uint64_t> got;
  const auto collect = [&](const Envelope& event) {
    got.push_back(event.sequence.value);
    return true;
  };
  ASSERT_TRUE(journal->read_stream(StreamId::uplink(), {1}, {collect}));
  EXPECT_EQ(got, std::vector<std::uint64_t>{3001});
  got.clear();
  ASSERT_TRUE(journal->read_stream({"module/module-3"}, {1500}, {collect}));
  std::vector<std::uint64_t> expected;
  for (std::uint64_t s = 1500; s < 3012; ++s) {
    if (s % 5 == 3 && s != 3001) expected.push_back(s);
  }
  EXPECT_EQ(got, expected);
  got.clear();
  ASSERT_TRUE(journal->read_stream({"module/module"}, {1}, {collect}));
  EXPECT_TRUE(got.empty());
}

TYPED_TEST(JournalContract, KeepsSnapshotsByNameAndPosition) {
  const auto journal = this->open();
  ASSERT_TRUE(append_now(*journal, events_from(1, 100)));
  const Status early = snapshot_now(*journal, {{101}, std::string(kStateSnapshot), "too early"});
  ASSERT_TRUE(early.has_error());
  EXPECT_EQ(early.error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(snapshot_now(*journal, {{30}, std::string(kStateSnapshot), std::string("a\0b", 3)}));
  EXPECT_TRUE(snapshot_now(*journal, {{60}, std::string(kStateSnapshot), "sixty"}));
  EXPECT_TRUE(snapshot_now(*journal, {{45}, "other", "forty-five"}));
  EXPECT_EQ(journal->latest_snapshot(kStateSnapshot, {59}).value(),
            (Snapshot{{30}, std::string(kStateSnapshot), std::string("a\0b", 3)}));
  EXPECT_EQ(journal->latest_snapshot(kStateSnapshot, {60})->bytes, "sixty");
  EXPECT_EQ(journal->latest_snapshot(kStateSnapshot, {~0ull})->bytes, "sixty");
  EXPECT_EQ(journal->latest_snapshot("other", {100})->through.value, 45u);
  const auto none = journal->latest_snapshot(kStateSnapshot, {29});
  ASSERT_TRUE(none.has_error());
  EXPECT_EQ(none.error().code, Errc::kNotFound);
  EXPECT_TRUE(journal->latest_snapshot("stat", {100}).has_error());
  EXPECT_TRUE(journal->latest_snapshot("states", {100}).has_error());
}

TYPED_TEST(JournalContract, BoundsTheNumberOfSnapshots) {
  const auto journal = this->open();
  ASSERT_TRUE(append_now(*journal, events_from(1, 100)));
  for (std::uint64_t through = 1; through <= 40; ++through) {
    ASSERT_TRUE(snapshot_now(*journal, {{through}, std::string(kStateSnapshot), std::to_string(through)}));
  }
  EXPECT_EQ(journal->latest_snapshot(kStateSnapshot, {40})->bytes, "40");
  EXPECT_TRUE(journal->latest_snapshot(kStateSnapshot, {35}));
  EXPECT_TRUE(journal->latest_snapshot(kStateSnapshot, {20}).has_error());
}

TYPED_TEST(JournalContract, ReadersSeeAContiguousDurablePrefixWhileTheWriterGoesOn) {
  const auto journal = this->open();
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> rounds = 0;
  std::string problem;
  std::thread reader([&] {
    while (!stop && problem.empty()) {
      const std::uint64_t durable = journal->durable_sequence().value;
      const std::uint64_t from = durable > 300 ? durable - 300 : 1;
      std::uint64_t seen = from - 1;
      const Status status = journal->read({from}, {~0ull}, {[&](const Envelope& event) {
                                            if (event.sequence.value != ++seen) problem = "a hole";
                                            return true;
                                          }});
      if (status.has_error()) problem = describe(status.error());
      if (seen < durable) problem = "durable event not seen";
      if (seen > journal->durable_sequence().value) problem = "event seen before it was durable";
      ++rounds;
    }
  });
  DoneLog done;
  std::uint64_t next = 1;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (rounds < 20 && std::chrono::steady_clock::now() < deadline) {
    journal->append(events_from(next, 3), done.expect());
    next += 3;
    if (next % 64 < 3) {
      ASSERT_TRUE(done.wait());
    }
  }
  ASSERT_TRUE(done.wait());
  stop = true;
  reader.join();
  EXPECT_EQ(problem, "");
  EXPECT_GE(rounds, 20u);
}

TYPED_TEST(JournalContract, SpendsTheBudgetByClassAndSaysWhatItRemoved) {
  std::mutex mutex;
  std::vector<GapRecorded> gaps;
  const JournalHooks hooks{[&](const GapRecorded& gap) {
                             const std::lock_guard lock(mutex);
                             gaps.push_back(gap);
                           },
                           {}};
  const auto journal = this->open(kLeastBudgetBytes, hooks);
  std::uint64_t next = 1;
  std::uint64_t most = 0;
  for (int round = 0; round < 60; ++round) {
    ASSERT_TRUE(append_now(*journal, events_from(next, 400, 600)));
    next += 400;
    ASSERT_TRUE(snapshot_now(*journal, {{next - 1}, std::string(kStateSnapshot), "state"}));
    most = std::max(most, journal->stats().bytes_used);
  }
  ASSERT_TRUE(journal->flush());
  EXPECT_LE(most, kLeastBudgetBytes + kLeastBudgetBytes / 4);
  ASSERT_GT(journal->complete_from().value, 1u);
  EXPECT_GT(journal->stats().compactions, 0u);
  const std::lock_guard lock(mutex);
  ASSERT_FALSE(gaps.empty());
  for (const GapRecorded& gap : gaps) {
    EXPECT_EQ(gap.gap, GapKind::kCompacted);
    EXPECT_GT(gap.count, 0u);
    EXPECT_LT(gap.last, journal->complete_from().value);
  }
  std::vector<MissingRange> missing;
  const auto events = read_all(*journal, &missing);
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0].kind, GapKind::kCompacted);
  EXPECT_EQ(missing[0].last.value + 1, journal->complete_from().value);
  std::uint64_t lifecycle_before = 0;
  std::uint64_t expected = journal->complete_from().value;
  for (const Envelope& event : events) {
    EXPECT_EQ(event, event_at(event.sequence.value, 600));
    if (event.sequence < journal->complete_from()) {
      EXPECT_TRUE(info(event.fact).lifecycle);
      ++lifecycle_before;
    } else {
      EXPECT_EQ(event.sequence.value, expected++);
    }
  }
  EXPECT_EQ(expected, next);
  EXPECT_GT(lifecycle_before, 0u) << "lifecycle events outlive detail";
  EXPECT_TRUE(journal->latest_snapshot(kStateSnapshot, {~0ull}));
}

TYPED_TEST(JournalContract, WithoutASnapshotTheBudgetStopsAppendsAndASnapshotHeals) {
  std::atomic<int> wanted = 0;
  const auto journal = this->open(kLeastBudgetBytes, {{}, [&] { ++wanted; }});
  std::uint64_t next = 1;
  Status status;
  while (status.has_value() && next < 40'000) {
    status = append_now(*journal, events_from(next, 400, 600));
    if (status.has_value()) next += 400;
  }
  ASSERT_TRUE(status.has_error()) << "a budget that does not bind";
  EXPECT_EQ(wanted, 1);
  EXPECT_EQ(status.error().code, Errc::kNoSpace);
  EXPECT_EQ(journal->next_sequence().value, next);
  EXPECT_EQ(journal->durable_sequence().value, next - 1);
  ASSERT_TRUE(snapshot_now(*journal, {{next - 1}, std::string(kStateSnapshot), "state"}));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while ((status = append_now(*journal, events_from(next, 1))).has_error() &&
         std::chrono::steady_clock::now() < deadline) {
    EXPECT_EQ(status.error().code, Errc::kNoSpace);
    std::this_thread::yield();
  }
  EXPECT_TRUE(status.has_value());
  (void)journal->flush();
}

}  // namespace
}  // namespace decklog::persistence
