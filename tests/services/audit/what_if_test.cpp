// A recorded life told again with something changed.
#include <gmock/gmock.h>

#include "services/audit/what_if.hpp"
#include "tests/services/audit/audit_fixture.hpp"

namespace decklog::audit {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class WhatIfTest : public AuditTest {
 protected:
  Result<WhatIfReport> tell(const std::vector<std::string>& texts) {
    std::vector<Change> changes;
    for (const auto& text : texts) {
      auto change = parse_change(text);
      if (!change) return change.error();
      changes.push_back(std::move(*change));
    }
    return what_if(sim_.journal, changes);
  }
  WhatIfReport told(const std::vector<std::string>& texts) {
    auto report = tell(texts);
    EXPECT_TRUE(report) << describe(report.error());
    return std::move(*report);
  }
  static PartAtEnd end_of(const WhatIfReport& report, const std::string& part) {
    for (const auto& end : report.end) {
      if (end.part == part) return end;
    }
    ADD_FAILURE() << part << " is not in the report";
    return {};
  }

  // The n-th input of this kind (n from 1) that `wanted` takes.
  template <class Kind>
  Envelope input(int n, const std::function<bool(const Kind&)>& wanted) {
    Envelope found;
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      const auto* fact = std::get_if<Kind>(&event.fact);
      if (fact && wanted(*fact) && n-- == 1) found = event;
      return true;
    };
    EXPECT_TRUE(sim_.journal.read(Sequence{1}, sim_.journal.durable_sequence(), visitor));
    EXPECT_TRUE(found.sequence);
    return found;
  }
  Envelope end_of_run(int n) {
    return input<ModuleObserved>(n, [](const ModuleObserved& seen) {
      return seen.module.value == "crashy" &&
             seen.presence == static_cast<std::uint8_t>(runtime::Presence::kExited);
    });
  }
  static std::string number(Sequence sequence) { return std::to_string(sequence.value); }
};

TEST_F(WhatIfTest, NothingChangedIsTheSameLife) {
  const auto report = told({});
  EXPECT_FALSE(report.departure);
  EXPECT_EQ(report.fed, report.inputs);
  EXPECT_EQ(report.moved + report.passed_over + report.not_reached + report.timers + report.no_news, 0u);
  EXPECT_THAT(report.streams, IsEmpty());
  EXPECT_THAT(report.unanswered, IsEmpty());
  for (const auto& part : report.end) EXPECT_TRUE(part.same()) << part.part;
}

TEST_F(WhatIfTest, AnotherPolicyLeavesTheModuleAtRestAndPassesOverWhatItsRestartsAnswered) {
  const auto report = told({"set=modules.crashy.restartPolicy=never"});
  ASSERT_TRUE(report.departure);
  EXPECT_THAT(report.departure->input_text, HasSubstr("desired.received"));
  EXPECT_EQ(end_of(report, "module crashy").recorded, "running, 3 restarts");
  EXPECT_EQ(end_of(report, "module crashy").told, "failed, 0 restarts");
  EXPECT_TRUE(end_of(report, "module steady").same());
  EXPECT_GT(report.passed_over, 0u);
  EXPECT_THAT(report.passed, Contains(HasSubstr("work.finished")));
  EXPECT_EQ(report.fed + report.passed_over, report.inputs);
  EXPECT_THAT(report.unanswered, IsEmpty());
}

TEST_F(WhatIfTest, AnEndThatNeverCameLeavesTheFirstRunRunning) {
  const Envelope end = end_of_run(1);
  const auto report = told({"drop=" + number(end.sequence)});
  EXPECT_EQ(report.dropped, 1u);
  ASSERT_TRUE(report.departure);
  EXPECT_EQ(report.departure->input, end.sequence);
  EXPECT_TRUE(report.departure->recorded);
  EXPECT_FALSE(report.departure->told);
  EXPECT_GT(report.passed_over, 0u) << "the ends of runs that never began";
  EXPECT_THAT(end_of(report, "module crashy").told, HasSubstr("running"));
}

TEST_F(WhatIfTest, AnAnswerThatNeverCameLeavesTheWorkOpen) {
  const Envelope created = input<WorkFinished>(1, [](const WorkFinished& work) {
    return work.module.value == "crashy" && work.work == PendingWork::kCreate;
  });
  const auto report = told({"drop=" + number(created.sequence)});
  EXPECT_EQ(report.dropped, 1u);
  ASSERT_TRUE(report.departure);
  EXPECT_EQ(report.departure->input, created.sequence);
  EXPECT_THAT(end_of(report, "module crashy").told, HasSubstr("creating"));
}

// A longer run is a stable one: the timer that the end had cancelled on the device fires now.
TEST_F(WhatIfTest, ATimerThatWasCancelledFiresWhenNothingCancelsIt) {
  const auto report = told({"delay=" + number(end_of_run(3).sequence) + ":1m"});
  EXPECT_GT(report.timers, 0u);
  EXPECT_THAT(report.streams, testing::SizeIs(1));
}

TEST_F(WhatIfTest, WhatFollowsADelayedInputComesLaterToo) {
  const Envelope end = end_of_run(2);
  const auto report = told({"delay=" + number(end.sequence) + ":5s"});
  ASSERT_TRUE(report.departure);
  EXPECT_EQ(report.departure->input, end.sequence);
  EXPECT_GE(report.moved, 3u) << "the end, the timer of its back-off, the start";
  EXPECT_EQ(report.passed_over, 0u);
  EXPECT_EQ(report.timers, 0u) << "the same timers, later";
  EXPECT_TRUE(end_of(report, "module crashy").same());
}

TEST_F(WhatIfTest, AnotherBackOffMovesTheTimersAndWhatTheyLedTo) {
  const auto report = told({"set=modules.crashy.restart.backoffFirstSecs=9"});
  ASSERT_TRUE(report.departure);
  EXPECT_EQ(report.departure->input, end_of_run(1).sequence) << "until the first end nothing differs";
  EXPECT_THAT(report.departure->fields,
              Contains(testing::Field(&FieldDifference::path, HasSubstr("backoff"))));
  EXPECT_GT(report.moved, 0u);
  EXPECT_EQ(report.passed_over, 0u);
  EXPECT_THAT(report.streams, IsEmpty()) << "the same steps, only sooner";
}

TEST_F(WhatIfTest, AWorldTheLogDoesNotKnowStaysOpen) {
  const auto report = told({R"(set=modules.crashy.settings.image="i:9")"});
  ASSERT_TRUE(report.departure);
  EXPECT_THAT(report.unanswered, Contains(HasSubstr("module/crashy pull")));
  EXPECT_THAT(end_of(report, "module crashy").told, HasSubstr("downloading"));
  EXPECT_GT(report.passed_over, 0u);
}

TEST_F(WhatIfTest, ADeploymentThatNeverCameLeavesTheDeviceEmpty) {
  const Envelope desired = input<DesiredReceived>(1, [](const DesiredReceived&) { return true; });
  const auto report = told({"drop=" + number(desired.sequence)});
  EXPECT_EQ(end_of(report, "module crashy").told, "not there");
  EXPECT_EQ(end_of(report, "deployment").told, "version 0 none");
  EXPECT_EQ(report.timers, 0u);
}

// The device's listing told of a run that never began here; what was last seen here is what a look sees.
TEST_F(WhatIfTest, ANewRunOfTheServiceFindsWhatIsThereInThisTelling) {
  const Envelope end = end_of_run(3);
  sim_.crash_agent();
  sim_.pass(1min);
  const auto report = told({"drop=" + number(end.sequence)});
  EXPECT_EQ(report.looks, 1u);
  EXPECT_THAT(end_of(report, "module crashy").told, HasSubstr("running"));
}

TEST_F(WhatIfTest, FromTheMiddleTheStateBeforeIsChangedToo) {
  const Envelope second = end_of_run(2);
  const auto change = parse_change("set=modules.crashy.restartPolicy=never");
  ASSERT_TRUE(change);
  const auto report = what_if(sim_.journal, {*change}, {.from = second.sequence});
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_EQ(report->first, second.sequence);
  EXPECT_THAT(end_of(*report, "module crashy").told, HasSubstr("failed"));
}

TEST_F(WhatIfTest, ItEndsWhereTheLogIsNotKnown) {
  const Envelope end = end_of_run(2);
  const auto log = open(bundle("hole.dlb", [&](Envelope& event) { return event.sequence != end.sequence; }));
  const auto report = what_if(*log, {});
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_LT(report->last, end.sequence);
  EXPECT_FALSE(report->departure);
  EXPECT_THAT(report->notes, Contains(HasSubstr("ends early: events " + number(end.sequence))));
}

TEST_F(WhatIfTest, WhatCannotBeChangedIsRefusedByName) {
  const Envelope end = end_of_run(1);
  const std::string decision = number(end.sequence.next());
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "a change is"},
           {"drop", "a change is"},
           {"remove=1", "a change is"},
           {"drop=", "no sequence"},
           {"drop=-1", "no sequence"},
           {"drop=0", "no sequence"},
           {"drop=99999999999999999999", "no sequence"},
           {"drop=1", "start of the service"},
           {"drop=999999", "no input 999999"},
           {"drop=" + decision, "is a decision, made at input " + number(end.sequence)},
           {"delay=5", "delay=SEQ:DURATION"},
           {"delay=5:", "no duration"},
           {"delay=5:soon", "no duration"},
           {"delay=5:0s", "no duration"},
           {"set=modules.crashy.restartPolicy", "a setting is"},
           {"set==x", "a setting is"},
           {"set=modules..x=1", "empty member"},
           {"set=modules.nobody.restartPolicy=never", "no desired document"},
           {"set=modules.crashy.restartPolicy=sometimes", "the agent would refuse that"},
           {"set=modules.crashy.unknown=1", "the agent would refuse that"}}) {
    const auto report = tell({text});
    ASSERT_FALSE(report) << text;
    EXPECT_EQ(report.error().code, Errc::kInvalidArgument) << text;
    EXPECT_EQ(report.error().where, text);
    EXPECT_THAT(report.error().message, HasSubstr(why)) << text;
  }
}

}  // namespace
}  // namespace decklog::audit
