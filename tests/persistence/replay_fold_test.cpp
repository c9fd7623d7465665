#include "persistence/replay_fold.hpp"

#include <gtest/gtest.h>

#include "persistence/journal_files.hpp"
#include "persistence/memory_journal.hpp"
#include "persistence/rocks_journal.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {

// State = how many events of each class, as text.
struct Counter {
  std::uint64_t events = 0;
  std::vector<std::uint64_t> applied;
  FoldCallbacks callbacks() {
    return {[this] { *this = {}; },
            [this](const Snapshot& snapshot) -> Status {
              if (snapshot.bytes.find_first_not_of("0123456789") != std::string::npos) {
                return error(Errc::kMalformed, "not a count");
              }
              events = std::stoull(snapshot.bytes);
              applied.clear();
              return {};
            },
            [this](const Envelope& event) -> Status {
              ++events;
              applied.push_back(event.sequence.value);
              return {};
            }};
  }
};

void fill(Journal& journal, std::uint64_t events, std::vector<std::uint64_t> snapshots) {
  ASSERT_TRUE(append_now(journal, events_from(1, events)));
  for (const std::uint64_t at : snapshots) {
    ASSERT_TRUE(snapshot_now(journal, {{at}, std::string(kStateSnapshot), std::to_string(at)}));
  }
}

TEST(ReplayFold, FoldsAnEmptyLog) {
  const MemoryJournal journal;
  Counter counter;
  const auto result = fold(journal, {}, counter.callbacks());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->through.value, 0u);
  EXPECT_EQ(counter.events, 0u);
}

TEST(ReplayFold, StartsAtTheNearestSnapshotAndStopsWhereTold) {
  MemoryJournal journal;
  fill(journal, 100, {30, 60, 90});
  Counter counter;
  auto result = fold(journal, {.through = {75}}, counter.callbacks());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->snapshot.value, 60u);
  EXPECT_EQ(result->through.value, 75u);
  EXPECT_EQ(result->events, 15u);
  EXPECT_EQ(counter.events, 75u);
  EXPECT_EQ(counter.applied.front(), 61u);
  result = fold(journal, {.use_snapshots = false}, counter.callbacks());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->events, 100u);
  EXPECT_EQ(counter.events, 100u);
}

TEST(ReplayFold, PassesOverASnapshotThatDoesNotRead) {
  MemoryJournal journal;
  fill(journal, 100, {30});
  ASSERT_TRUE(snapshot_now(journal, {{60}, std::string(kStateSnapshot), "of another version"}));
  Counter counter;
  const auto result = fold(journal, {}, counter.callbacks());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->snapshot.value, 30u);
  EXPECT_EQ(counter.events, 100u);
}

TEST(ReplayFold, AnApplyErrorEndsTheFold) {
  MemoryJournal journal;
  fill(journal, 10, {});
  Counter counter;
  auto callbacks = counter.callbacks();
  callbacks.apply = [](const Envelope& event) -> Status {
    if (event.sequence.value == 4) return error(Errc::kInternal, "broken");
    return {};
  };
  const auto result = fold(journal, {}, callbacks);
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().message, "broken");
}

// A journal with a hole: 51 to 57 were lost with the tail.
std::unique_ptr<RocksJournal> with_hole(const std::filesystem::path& path) {
  {
    auto journal = RocksJournal::open({.directory = path}).value();
    fill(*journal, 50, {20});
  }
  {
    auto mark = HighWaterFile::open(path);
    EXPECT_TRUE(mark && mark->write({read_identity(path)->epoch, 57, false}));
  }
  auto journal = RocksJournal::open({.directory = path}).value();
  EXPECT_TRUE(append_now(*journal, events_from(58, 43)));
  return journal;
}

TEST(ReplayFold, AGapStopsItByName) {
  const TempDir dir;
  const auto journal = with_hole(dir.path() / "j");
  Counter counter;
  const auto result = fold(*journal, {}, counter.callbacks());
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, Errc::kCorrupt);
  EXPECT_EQ(result.error().where, "sequence 51");
  EXPECT_EQ(counter.events, 50u) << "what came before the gap is folded";
  const auto before = fold(*journal, {.through = {50}}, counter.callbacks());
  EXPECT_TRUE(before);
}

TEST(ReplayFold, GoesOnFromTheSnapshotBehindAGapWhenAsked) {
  const TempDir dir;
  const auto journal = with_hole(dir.path() / "j");
  Counter counter;
  const FoldOptions from_start{.on_gap = OnGap::kContinueFromNextSnapshot, .use_snapshots = false};
  EXPECT_EQ(fold(*journal, from_start, counter.callbacks()).error().where, "sequence 51")
      << "no snapshot behind it";
  for (const std::uint64_t at : {70, 80}) {
    ASSERT_TRUE(snapshot_now(*journal, {{at}, std::string(kStateSnapshot), std::to_string(at)}));
  }
  const auto result = fold(*journal, from_start, counter.callbacks());
  ASSERT_TRUE(result) << describe(result.error());
  ASSERT_EQ(result->skipped.size(), 1u);
  EXPECT_EQ(result->skipped[0].first.value, 51u);
  EXPECT_EQ(counter.applied.front(), 71u);
  EXPECT_EQ(counter.events, 100u);
}

}  // namespace
}  // namespace decklog::persistence
