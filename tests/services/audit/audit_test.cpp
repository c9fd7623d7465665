// Logs read on a desk: honest ones replay, doctored ones are found, explained and made small.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "services/audit/diff.hpp"
#include "services/audit/log_source.hpp"
#include "services/audit/minimise.hpp"
#include "services/audit/regression.hpp"
#include "services/audit/replay.hpp"
#include "tests/services/audit/audit_fixture.hpp"

namespace decklog::audit {
namespace {

TEST_F(AuditTest, AnHonestLogReplaysAlikeEachTime) {
  const auto log = open(bundle("honest.dlb"));
  const auto first = replay_agent(*log, {});
  EXPECT_TRUE(first.honest());
  EXPECT_THAT(first.not_proven, testing::IsEmpty());
  EXPECT_GT(first.decisions, 20u);
  const auto live = replay_agent(sim_.journal, {});
  EXPECT_EQ(first.state_hash, live.state_hash);
  EXPECT_EQ(first.state_hash, state_hash(sim_.state()));
}

TEST_F(AuditTest, ALogOfAnotherServiceIsNotDecidedByTheAgentsCore) {
  EXPECT_TRUE(check_replayable(*open(bundle("agent.dlb"))));
  const auto log = open(bundle("hub.dlb", [](Envelope& event) {
    if (auto* started = std::get_if<ServiceStarted>(&event.fact)) started->service = "hub";
    return true;
  }));
  const auto fits = check_replayable(*log);
  ASSERT_TRUE(fits.has_error());
  EXPECT_EQ(fits.error().code, Errc::kUnsupported);
  EXPECT_THAT(fits.error().message, testing::HasSubstr("log of the hub"));
}

TEST_F(AuditTest, TheFirstDivergenceIsToldWithExpectedGotAndCause) {
  const auto log = open(doctored("doctored.dlb"));
  const auto report = replay_agent(*log, {});
  ASSERT_FALSE(report.divergences.empty());
  const Divergence& first = report.divergences.front();
  EXPECT_EQ(first.input, cause_);
  EXPECT_FALSE(first.consequence);
  ASSERT_TRUE(first.expected && first.got);
  EXPECT_EQ(first.expected->sequence, changed_);
  ASSERT_FALSE(first.fields.empty());
  EXPECT_THAT(first.fields.front().path, testing::HasSubstr("backoff_wait_ns"));
  EXPECT_NE(first.fields.front().expected, first.fields.front().got);
  ASSERT_FALSE(first.chain.empty());
  EXPECT_EQ(first.chain.back().event.sequence, changed_);
  EXPECT_EQ(first.recorded_by, "sim");
  EXPECT_FALSE(first.state.empty());
}

TEST_F(AuditTest, AsManyDivergencesAsAskedFor) {
  const auto log = open(doctored("doctored.dlb"));
  EXPECT_EQ(replay_agent(*log, {.most = 1}).divergences.size(), 1u);
}

TEST_F(AuditTest, AMissingEventIsSaidAndNotTakenForADivergenceInSilence) {
  const auto log = open(bundle("hole.dlb", [](Envelope& event) { return event.sequence.value != 9; }));
  const auto report = replay_agent(*log, {});
  EXPECT_THAT(report.not_proven, testing::Contains(testing::HasSubstr("(events 9..9 damaged")));
}

TEST_F(AuditTest, ADivergenceIsMadeSmall) {
  const auto log = open(doctored("doctored.dlb"));
  const auto small = minimise(*log, path("small.dlb"));
  ASSERT_TRUE(small) << describe(small.error());
  EXPECT_EQ(small->input, cause_);
  EXPECT_LT(small->inputs, small->inputs_before);
  const auto report = replay_agent(*open(path("small.dlb")), {.most = 1});
  ASSERT_EQ(report.divergences.size(), 1u);
  EXPECT_EQ(report.divergences.front().input, cause_);
}

TEST_F(AuditTest, NothingToMakeSmallInAnHonestLog) {
  const auto small = minimise(*open(bundle("honest.dlb")), path("small.dlb"));
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, Errc::kNotFound);
  EXPECT_FALSE(fs::exists(path("small.dlb")));
}

TEST_F(AuditTest, TwoLogsAreHeldSideBySide) {
  const auto honest = open(bundle("honest.dlb"));
  EXPECT_TRUE(diff_logs(*honest, sim_.journal).equal());
  EXPECT_TRUE(diff_logs(*honest, *open(doctored("drawn.dlb"))).equal()) << "a wait is drawn, not decided";
  const auto other = open(bundle("other.dlb", [](Envelope& event) {
    auto* decision = std::get_if<ModuleTransitioned>(&event.fact);
    if (decision && decision->to == ModuleState::kBackingOff) ++decision->life.restart_count;
    return true;
  }));
  const auto difference = diff_logs(*honest, *other);
  EXPECT_FALSE(difference.equal());
  ASSERT_EQ(difference.streams.size(), 1u);
  EXPECT_EQ(difference.streams.front().stream, "module/crashy");
}

TEST_F(AuditTest, ADirectoryOfLogsIsATestOfABuild) {
  fs::create_directory(path("corpus"));
  EXPECT_FALSE(replay_corpus(path("corpus"), {})) << "an empty corpus proves nothing";
  bundle("corpus/a.dlb");
  doctored("corpus/b.dlb");
  const auto cases = replay_corpus(path("corpus"), {});
  ASSERT_TRUE(cases) << describe(cases.error());
  ASSERT_EQ(cases->size(), 2u);
  EXPECT_TRUE((*cases)[0].report.honest());
  EXPECT_FALSE((*cases)[1].report.honest());
}

// Also when its start is not part of what is asked for.
TEST_F(AuditTest, EveryEventSaysWhoseLogItIsFrom) {
  const auto log = open_log(bundle("log"));
  ASSERT_TRUE(log);
  Filter behind, one;
  behind.from = Sequence{5};
  one.stream = "module/crashy";
  for (const auto& filter : {Filter{}, behind, one}) {
    std::size_t seen = 0;
    EXPECT_TRUE(select(**log, filter, [&](const Entry& entry) {
      ++seen;
      EXPECT_FALSE(entry.device.empty());
    }));
    EXPECT_GT(seen, 5u);
  }
}

TEST_F(AuditTest, ABundleIsPrivate) {
  struct stat status {};
  ASSERT_EQ(::stat(bundle("whole.dlb").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

}  // namespace
}  // namespace decklog::audit
