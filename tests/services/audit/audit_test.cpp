// Logs read on a desk: honest ones replay, doctored ones are found, explained and made small.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "events/codec.hpp"
#include "services/audit/bundle.hpp"
#include "services/audit/diff.hpp"
#include "services/audit/minimise.hpp"
#include "services/audit/regression.hpp"
#include "services/audit/replay.hpp"
#include "tests/services/agent/agent_sim.hpp"

namespace decklog::audit {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const char* const kDeployment =
    R"({"schemaVersion":"1.1","modules":{
        "steady":{"type":"docker","settings":{"image":"i:1"}},
        "crashy":{"type":"docker","restartPolicy":"always","settings":{"image":"i:2"}}}})";

class AuditTest : public testing::Test {
 protected:
  AuditTest() {
    std::string name = (fs::temp_directory_path() / "decklog-audit.XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    // A life with something to decide: two modules, one that ends three times.
    sim_.deploy(kDeployment);
    sim_.pass(1min);
    for (int end = 0; end < 3; ++end) {
      sim_.end_run("crashy", 3, 0);
      sim_.pass(10min);
    }
    EXPECT_TRUE(sim_.broken.empty());
  }
  ~AuditTest() override { fs::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  // The log as a bundle. `change` may alter an event; false leaves it out.
  std::string bundle(const std::string& name, const std::function<bool(Envelope&)>& change = {}) {
    BundleWriter writer(path(name), sim_.journal.epoch());
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      Envelope copy = event;
      if (!change || change(copy))
        writer.event(encode(copy));
      else
        writer.missing({GapKind::kDamaged, event.sequence, event.sequence, "by the test"});
      return true;
    };
    visitor.missing = [](const persistence::MissingRange&) { return true; };
    EXPECT_TRUE(sim_.journal.read(Sequence{1}, sim_.journal.durable_sequence(), visitor));
    EXPECT_TRUE(writer.finish());
    return path(name);
  }
  std::string doctored(const std::string& name) {
    int waits = 0;
    return bundle(name, [&](Envelope& event) {
      auto* decision = std::get_if<ModuleTransitioned>(&event.fact);
      if (decision && decision->to == ModuleState::kBackingOff && ++waits == 2) {
        decision->life.backoff_wait_ns += 1'000'000'000;
        changed_ = event.sequence;
        cause_ = event.cause;
      }
      return true;
    });
  }
  static std::unique_ptr<BundleReader> open(const std::string& path) {
    auto reader = BundleReader::open(path);
    EXPECT_TRUE(reader) << describe(reader.error());
    return std::move(*reader);
  }

  agent::sim::AgentSim sim_;
  std::string directory_;
  Sequence changed_, cause_;
};

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
  EXPECT_THAT(report.not_proven, testing::Contains(testing::HasSubstr("events 9 to 9")));
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

// A cut between the events of a step leaves an input without its decisions at the very end; nothing before differs.
TEST_F(AuditTest, ABundleIsPrivateAndACutOneIsRefusedOrReadUpToTheCut) {
  const std::string whole = bundle("whole.dlb");
  struct stat status {};
  ASSERT_EQ(::stat(whole.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const auto size = fs::file_size(whole);
  for (std::uintmax_t cut = 0; cut < size; cut += 97) {
    fs::copy_file(whole, path("cut.dlb"), fs::copy_options::overwrite_existing);
    fs::resize_file(path("cut.dlb"), cut);
    const auto reader = BundleReader::open(path("cut.dlb"));
    if (!reader) continue;
    EXPECT_LE((*reader)->durable_sequence(), sim_.journal.durable_sequence());
    for (const auto& divergence : replay_agent(**reader, {}).divergences)
      EXPECT_FALSE(divergence.expected) << "cut at " << cut << ", input " << divergence.input.value;
  }
}

}  // namespace
}  // namespace decklog::audit
