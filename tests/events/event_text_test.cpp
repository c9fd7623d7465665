// Events and times as people and other systems see them.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json.hpp>
#include <limits>

#include "events/event.hpp"
#include "tests/events/sample_facts.hpp"

namespace decklog {
namespace {

namespace json = boost::json;
using fixture::make_event;
using fixture::TextKind;

TEST(CloudEvent, HasTheAttributesOfTheSpecification) {
  Envelope event = make_event(1, 5, TextKind::kPlain);
  event.sequence = Sequence{42};
  event.cause = Sequence{40};
  event.boot = BootId("boot-1");
  event.time.wall = {1'764'000'000'000'000'000};
  event.correlation = Correlation("deployment/12");
  event.actor = Actor("uid:0 (root)");
  event.clock = ClockState::kSynced;
  event.fact = ModuleTransitioned{.module = ModuleName("sensor"),
                                  .from = ModuleState::kRunning,
                                  .to = ModuleState::kBackingOff,
                                  .trigger = "ModuleExited",
                                  .reason = ModuleReason::kPolicyRestart};
  event.stream = stream_of(event.fact);
  const auto out = json::parse(to_cloud_event(event, "/devices/edge-1/agent")).as_object();
  EXPECT_EQ(out.at("specversion"), "1.0");
  EXPECT_EQ(out.at("id"), "boot-1/42");
  EXPECT_EQ(out.at("source"), "/devices/edge-1/agent");
  EXPECT_EQ(out.at("type"), "io.decklog.module.transitioned.v1");
  EXPECT_EQ(out.at("subject"), "module/sensor");
  EXPECT_EQ(out.at("time"), "2025-11-24T16:00:00.000000Z");
  EXPECT_EQ(out.at("datacontenttype"), "application/json");
  EXPECT_EQ(out.at("sequence"), "00000000000000000042");
  EXPECT_EQ(out.at("kind"), "decision");
  EXPECT_EQ(out.at("clockstate"), "synced");
  EXPECT_EQ(out.at("causationid"), "boot-1/40");
  EXPECT_EQ(out.at("cause").to_number<int>(), 40);
  EXPECT_EQ(out.at("correlationid"), "deployment/12");
  EXPECT_EQ(out.at("actor"), "uid:0 (root)");
  const auto& data = out.at("data").as_object();
  EXPECT_EQ(data.at("module"), "sensor");
  EXPECT_EQ(data.at("from"), "running");
  EXPECT_EQ(data.at("to"), "backing-off");
  EXPECT_EQ(data.at("life").at("restart_count").to_number<int>(), 0);
}

TEST(CloudEvent, LeavesOutWhatIsEmpty) {
  Envelope event;
  event.sequence = Sequence{1};
  event.fact = TimerFired{.key = "tick"};
  const auto out = json::parse(to_cloud_event(event, "/s")).as_object();
  for (const char* name : {"causationid", "cause", "correlationid", "actor", "build"})
    EXPECT_FALSE(out.contains(name)) << name;
}

class EachType : public testing::TestWithParam<std::size_t> {};

TEST_P(EachType, HasItsFieldsInJson) {
  const Envelope event = make_event(GetParam(), 3, TextKind::kPlain);
  const auto data = json::parse(fact_json(event.fact)).as_object();
  std::size_t fields = 0;
  std::visit(
      [&](const auto& fact) {
        std::remove_cvref_t<decltype(fact)>::fields(fact, [&](int, const char* name, const auto&) {
          ++fields;
          EXPECT_TRUE(data.contains(name)) << name;
        });
      },
      event.fact);
  EXPECT_EQ(data.size(), fields);
}

TEST_P(EachType, DiffersFromItselfInNothingAndFromAnotherByName) {
  const Envelope event = make_event(GetParam(), 3, TextKind::kPlain);
  EXPECT_TRUE(differences(event.fact, event.fact).empty());
  const Envelope other = make_event(GetParam(), 4, TextKind::kPlain);
  const auto found = differences(event.fact, other.fact);
  EXPECT_EQ(found.empty(), event.fact == other.fact);
  for (const auto& field : found) EXPECT_NE(field.expected, field.got) << field.path;
}

INSTANTIATE_TEST_SUITE_P(Facts, EachType, testing::Range<std::size_t>(1, kFactTypes),
                         [](const auto& info) { return std::string(fact_info(info.param).schema); });

TEST(Differences, NameTheFieldAndBothValues) {
  ModuleTransitioned expected{.module = ModuleName("sensor"), .to = ModuleState::kRunning};
  ModuleTransitioned got = expected;
  got.to = ModuleState::kFailed;
  got.life.restart_count = 3;
  const auto found = differences(expected, got);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].path, "to");
  EXPECT_EQ(found[0].expected, "\"running\"");
  EXPECT_EQ(found[0].got, "\"failed\"");
  EXPECT_EQ(found[1].path, "life.restart_count");
  EXPECT_EQ(found[1].got, "3");
}

TEST(Differences, OfTwoTypesIsTheType) {
  const auto found = differences(TimerFired{"a"}, ServiceStopped{"a"});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].path, "type");
  EXPECT_EQ(found[0].expected, "timer.fired.v1");
  EXPECT_EQ(found[0].got, "service.stopped.v1");
}

TEST(Streams, FollowTheSubjectOfTheFact) {
  const ModuleName sensor("sensor");
  EXPECT_EQ(stream_of(ModuleObserved{.module = sensor}).value, "module/sensor");
  EXPECT_EQ(stream_of(WorkFinished{.module = sensor}).value, "module/sensor");
  EXPECT_EQ(stream_of(PullProgressed{.module = sensor}).value, "module/sensor");
  EXPECT_EQ(stream_of(ProbeFinished{.module = sensor}).value, "module/sensor");
  EXPECT_EQ(stream_of(ModuleTransitioned{.module = sensor}).value, "module/sensor");
  EXPECT_EQ(stream_of(OperatorCommanded{.module = sensor}).value, "module/sensor");
  EXPECT_EQ(stream_of(OperatorCommanded{}).value, "service");
  EXPECT_EQ(stream_of(TimerFired{"module/sensor"}).value, "module/sensor");
  EXPECT_EQ(stream_of(TimerFired{"uplink"}).value, "uplink");
  EXPECT_EQ(stream_of(TimerFired{"deployment"}).value, "deployment");
  EXPECT_EQ(stream_of(DesiredReceived{}).value, "deployment");
  EXPECT_EQ(stream_of(LinkObserved{}).value, "uplink");
  EXPECT_EQ(stream_of(ClientObserved{.client = "edge-1/sensor"}).value, "client/edge-1/sensor");
  EXPECT_EQ(stream_of(InputRejected{.machine = "ModuleLifecycle", .subject = "sensor"}).value,
            "module/sensor");
  EXPECT_EQ(stream_of(InputRejected{.machine = "document", .subject = "$.a"}).value, "deployment");
  EXPECT_EQ(stream_of(ServiceStarted{}).value, "service");
}

TEST(Names, OfNumbersNobodyKnowsAreNumbers) {
  EXPECT_EQ(name_of(static_cast<ModuleState>(200)), "#200");
  EXPECT_EQ(name_of(ModuleState::kBackingOff), "backing-off");
  for (int reason = 0; reason <= static_cast<int>(ModuleReason::kTurnRevoked); ++reason)
    EXPECT_NE(name_of(static_cast<ModuleReason>(reason)).front(), '#') << reason;
  EXPECT_EQ(name_of(GapKind::kNotWritten), "not-written");
}

TEST(Times, PrintAndParse) {
  EXPECT_EQ(to_rfc3339({}), "never");
  EXPECT_EQ(to_rfc3339({1}), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(to_rfc3339({-1}), "1969-12-31T23:59:59.999999Z");
  rc::check([](std::int64_t micros) {
    const WallTime time{(micros % 9'000'000'000'000'000) * 1000};
    if (time.ns == 0) return;
    const auto back = parse_rfc3339(to_rfc3339(time));
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->ns == time.ns);
  });
}

TEST(Times, ParseOtherFormsOfTheStandard) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:01Z")->ns, 1'000'000'000);
  EXPECT_EQ(parse_rfc3339("1970-01-01t00:00:01.5z")->ns, 1'500'000'000);
  EXPECT_EQ(parse_rfc3339("1970-01-01T02:00:00+02:00")->ns, 0);
  EXPECT_EQ(parse_rfc3339("1969-12-31T23:30:00-00:30")->ns, 0);
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00.1234567891234Z")->ns, 123'456'789);
}

TEST(Times, RefuseWhatIsNone) {
  for (const char* text :
       {"", "never", "2026-11-24", "2026-11-24T03:15:19", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx",
        "2026-01-01 00:00:00Z", "+026-01-01T00:00:00Z", "2026-01-01T00:00:00+1:00", "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99"}) {
    const auto time = parse_rfc3339(text);
    ASSERT_FALSE(time) << text;
    EXPECT_EQ(time.error().code, Errc::kMalformed);
  }
}

TEST(Durations, PrintForPeople) {
  using namespace std::chrono_literals;
  EXPECT_EQ(to_text(0s), "0s");
  EXPECT_EQ(to_text(90s), "1m30s");
  EXPECT_EQ(to_text(250ms), "250ms");
  EXPECT_EQ(to_text(-90s), "-1m30s");
  EXPECT_EQ(to_text(std::chrono::hours(25) + 30s), "1d1h");
  EXPECT_TRUE(to_text(Duration(std::numeric_limits<std::int64_t>::min())).starts_with("-106751d"));
}

TEST(Durations, ParseWhatIsPrinted) {
  rc::check([](std::uint32_t seconds) {
    const Duration duration = std::chrono::seconds(seconds % 3600);
    const auto back = parse_duration(to_text(duration));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == duration);
  });
}

TEST(Durations, RefuseWhatIsNone) {
  for (const char* text :
       {"", "10", "s", "10 s", "-5s", "1.5s", "10x", "9999999999999s", "999999999999d", "5sm"}) {
    const auto duration = parse_duration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(duration.error().code, Errc::kMalformed);
  }
}

}  // namespace
}  // namespace decklog
