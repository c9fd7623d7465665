// Logs that are not whole: cut bundles, ranges that are missing. What is not known is said; it is no
// divergence.
#include <gmock/gmock.h>

#include <fstream>

#include "services/audit/log_source.hpp"
#include "services/audit/minimise.hpp"
#include "services/audit/replay.hpp"
#include "tests/services/audit/audit_fixture.hpp"

namespace decklog::audit {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kEndMark = 9 + 16;

class IncompleteLogTest : public AuditTest {
 protected:
  std::string bytes_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string file(const std::string& name, const std::string& bytes) {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  // Where records end.
  static std::vector<std::size_t> ends_of_records(const std::string& bytes) {
    std::vector<std::size_t> ends{12};
    while (ends.back() + 9 <= bytes.size()) {
      std::size_t size = 0;
      for (std::size_t i = 4; i > 0; --i)
        size = size << 8 | static_cast<unsigned char>(bytes[ends.back() + i]);
      ends.push_back(ends.back() + 9 + size);
    }
    return ends;
  }
  Sequence decision(ModuleState to, int n) {
    Sequence found;
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      const auto* fact = std::get_if<ModuleTransitioned>(&event.fact);
      if (fact && fact->to == to && n-- == 1) found = event.sequence;
      return true;
    };
    EXPECT_TRUE(sim_.journal.read(Sequence{1}, sim_.journal.durable_sequence(), visitor));
    EXPECT_TRUE(found);
    return found;
  }
  static std::string number(Sequence sequence) { return std::to_string(sequence.value); }
};

TEST_F(IncompleteLogTest, ABundleCutBetweenTheEventsOfItsLastStepShowsNoDivergence) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  const auto ends = ends_of_records(whole);
  ASSERT_EQ(ends.back(), whole.size());
  for (std::size_t i = 1; i < ends.size(); i += 2) {
    const auto log = open(file("cut.dlb", whole.substr(0, ends[i])));
    EXPECT_EQ(log->whole(), ends[i] == whole.size());
    EXPECT_THAT(replay_agent(*log, {}).divergences, IsEmpty()) << "cut after record " << i;
  }
}

TEST_F(IncompleteLogTest, ABundleCutWithinARecordIsRefused) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  const auto ends = ends_of_records(whole);
  for (std::size_t cut = 0; cut < whole.size(); cut += 89) {
    if (std::find(ends.begin(), ends.end(), cut) != ends.end()) continue;
    EXPECT_FALSE(BundleReader::open(file("cut.dlb", whole.substr(0, cut)))) << "cut at " << cut;
  }
}

TEST_F(IncompleteLogTest, AnEndMarkHoldsTheLastStepToAllItsDecisions) {
  const Sequence last = decision(ModuleState::kRunning, 2);
  const auto cut = [&](bool marked) {
    BundleWriter writer(path("end.dlb"), 1);
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      writer.event(event.sequence, encode(event));
      return true;
    };
    EXPECT_TRUE(sim_.journal.read(Sequence{1}, Sequence{last.value - 1}, visitor));
    EXPECT_TRUE(writer.finish(marked));
    return replay_agent(*open(path("end.dlb")), {});
  };
  const auto marked = cut(true);
  ASSERT_EQ(marked.divergences.size(), 1u);
  EXPECT_FALSE(marked.divergences.front().expected);
  EXPECT_THAT(cut(false).divergences, IsEmpty());
}

TEST_F(IncompleteLogTest, ABundleOfAnOlderVersionStillReads) {
  std::string old = bytes_of(bundle("whole.dlb"));
  old.resize(old.size() - kEndMark);
  const auto log = open(file("old.dlb", old));
  EXPECT_FALSE(log->whole());
  EXPECT_EQ(log->durable_sequence(), sim_.journal.durable_sequence());
  EXPECT_TRUE(replay_agent(*log, {}).honest());
  const auto verified = verify_log(path("old.dlb"));
  ASSERT_TRUE(verified);
  EXPECT_TRUE(verified->ok);
  EXPECT_THAT(verified->notes, Contains(HasSubstr("no end mark")));
}

TEST_F(IncompleteLogTest, AnEndMarkThatDoesNotFitIsRefused) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  const auto ends = ends_of_records(whole);
  const std::string mark = whole.substr(whole.size() - kEndMark);
  const auto early = BundleReader::open(file("early.dlb", whole.substr(0, ends[ends.size() - 4]) + mark));
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message, HasSubstr("end mark"));
  const auto twice = BundleReader::open(file("twice.dlb", whole + mark));
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().message, HasSubstr("follows the end mark"));
}

TEST_F(IncompleteLogTest, AnExportTakesTheWholeLastStep) {
  const Sequence input{decision(ModuleState::kBackingOff, 2).value - 1};
  ASSERT_TRUE(write_bundle(sim_.journal, path("part.dlb"), {}, input));
  const auto log = open(path("part.dlb"));
  EXPECT_TRUE(log->whole());
  EXPECT_GT(log->durable_sequence(), input);
  EXPECT_TRUE(replay_agent(*log, {}).honest());
  // What comes from a log that may have been cut says so itself.
  std::string old = bytes_of(path("part.dlb"));
  old.resize(old.size() - kEndMark);
  ASSERT_TRUE(write_bundle(*open(file("old.dlb", old)), path("again.dlb"), {}, {}));
  EXPECT_FALSE(open(path("again.dlb"))->whole());
}

TEST_F(IncompleteLogTest, ReplayUpToTheMiddleOfAStepIsNoDivergence) {
  const Sequence input{decision(ModuleState::kBackingOff, 2).value - 1};
  EXPECT_THAT(replay_agent(sim_.journal, {.to = input}).divergences, IsEmpty());
}

// Whichever event is lost, nothing is made of it but the sentence that says so.
TEST_F(IncompleteLogTest, AnEventThatIsLostIsNoDivergenceWhicheverItIs) {
  const std::uint64_t last = sim_.journal.durable_sequence().value;
  for (std::uint64_t lost = 2; lost < last; lost += 2) {
    const auto log = open(bundle("hole.dlb", [&](Envelope& event) { return event.sequence.value != lost; }));
    const auto report = replay_agent(*log, {.most = 1});
    EXPECT_TRUE(report.honest()) << "event " << lost;
    const std::string n = std::to_string(lost);
    EXPECT_THAT(report.not_proven,
                Contains(HasSubstr("not comparable from sequence " + std::to_string(lost + 1) + " (events " +
                                   n + ".." + n + " damaged")));
    const auto after = replay_agent(*log, {.from = Sequence{lost + 1}, .most = 1});
    EXPECT_TRUE(after.honest()) << "from behind event " << lost;
    EXPECT_THAT(after.not_proven, Contains(HasSubstr("not comparable")));
  }
}

TEST_F(IncompleteLogTest, AStoredStateShowsTheDeviceAgain) {
  const Sequence lost = decision(ModuleState::kBackingOff, 2);
  sim_.take_snapshot();
  const Sequence stored = sim_.journal.durable_sequence();
  sim_.end_run("crashy", 4, 0);
  sim_.pass(std::chrono::minutes(1));
  Sequence doctored;
  const auto log = open(bundle("hole.dlb", [&](Envelope& event) {
    auto* fact = std::get_if<ModuleTransitioned>(&event.fact);
    if (stored < event.sequence && fact && fact->to == ModuleState::kBackingOff) {
      fact->life.restart_count += 7;
      doctored = event.cause;
    }
    return event.sequence != lost;
  }));
  const auto report = replay_agent(*log, {.most = 1});
  EXPECT_THAT(report.not_proven,
              Contains(testing::AllOf(HasSubstr("not comparable from sequence " + number(lost.next())),
                                      HasSubstr(") to " + number(stored)))));
  ASSERT_EQ(report.divergences.size(), 1u) << "behind the stored state it is compared again";
  EXPECT_EQ(report.divergences.front().input, doctored);
  EXPECT_EQ(report.seen_from, stored.next());
  // And made small from there.
  const auto small = minimise(*log, path("small.dlb"));
  ASSERT_TRUE(small) << describe(small.error());
  EXPECT_EQ(replay_agent(*open(path("small.dlb")), {.most = 1}).divergences.size(), 1u);
}

TEST_F(IncompleteLogTest, ARunThatBeganWithoutWhatIsLostShowsTheDeviceAgain) {
  const Sequence lost = decision(ModuleState::kBackingOff, 1);
  Envelope told;
  told.sequence = sim_.journal.next_sequence();
  told.fact = GapRecorded{.gap = GapKind::kDamaged, .first = lost.value, .last = lost.value};
  told.stream = stream_of(told.fact);
  sim_.journal.append(std::vector<Envelope>{told}, [](const Status& done) { EXPECT_TRUE(done); });
  sim_.crash_agent();
  sim_.pass(std::chrono::minutes(1));
  const auto report =
      replay_agent(*open(bundle("hole.dlb", [&](Envelope& event) { return event.sequence != lost; })), {});
  EXPECT_TRUE(report.honest());
  EXPECT_EQ(report.seen_from, told.sequence.next());
  EXPECT_THAT(report.not_proven, Contains(HasSubstr(") to " + number(told.sequence))));
}

TEST_F(IncompleteLogTest, ALogThatBeginsInTheMiddleWithoutAStateIsNotCompared) {
  const Sequence begin = decision(ModuleState::kBackingOff, 2);
  BundleWriter writer(path("tail.dlb"), 1);
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    writer.event(event.sequence, encode(event));
    return true;
  };
  ASSERT_TRUE(sim_.journal.read(begin, sim_.journal.durable_sequence(), visitor));
  ASSERT_TRUE(writer.finish());
  const auto report = replay_agent(*open(path("tail.dlb")), {});
  EXPECT_TRUE(report.honest());
  EXPECT_THAT(report.not_proven, Contains(HasSubstr("the log begins here, without a state")));
}

}  // namespace
}  // namespace decklog::audit
