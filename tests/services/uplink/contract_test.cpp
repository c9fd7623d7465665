// The contract of uplink.hpp, over every implementation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/services/uplink/rig.hpp"

namespace decklog::uplink {
namespace {

const TwinKey kAgent{"edge-1", "$edgeAgent"};
const TwinKey kSensor{"edge-1", "sensor"};

class UplinkContract : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Rig> rig = make_rig(GetParam());

  static Result<std::size_t> publish(Observer& seen, std::vector<Telemetry> batch) {
    return seen.ask<std::size_t>([&](auto done) { seen.uplink->publish(std::move(batch), done); });
  }
  static Result<std::uint64_t> report(Observer& seen, const std::string& json,
                                      std::optional<std::uint64_t> expected) {
    return seen.ask<std::uint64_t>(
        [&](auto done) { seen.uplink->put_reported(kAgent, json, expected, done); });
  }
};

TEST_P(UplinkContract, ConnectsPingsAndDisconnects) {
  Observer seen(*rig);
  EXPECT_EQ(seen.connect().change, LinkChange::kConnected);
  EXPECT_TRUE(seen.ask<void>([&](auto done) { seen.uplink->ping(std::chrono::seconds(5), done); }));
  seen.uplink->disconnect();
  EXPECT_TRUE(seen.connected()) << "on_link inside disconnect()";
  ASSERT_TRUE(seen.wait([&] { return !seen.connected(); }));
  EXPECT_EQ(seen.links.back().change, LinkChange::kLost);
  EXPECT_EQ(seen.links.back().cause, LinkCause::kRequested);
  const auto refused = publish(seen, {reading(1)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kUnavailable);
  EXPECT_TRUE(seen.in_callback_ok);
}

TEST_P(UplinkContract, DesiredComesOnWatchOnChangeAndAfterReconnect) {
  ASSERT_TRUE(rig->fleet().put_desired(kAgent, R"({"v":1})", std::nullopt));
  ASSERT_TRUE(rig->fleet().put_desired({"edge-2", "$edgeAgent"}, R"({"other":1})", std::nullopt));
  Observer seen(*rig);
  seen.uplink->watch_desired(kAgent);
  seen.uplink->watch_desired(kAgent);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen.wait([&] { return seen.desired.size() == 1; }));
  EXPECT_EQ(seen.desired[0].first, kAgent);
  EXPECT_EQ(seen.desired[0].second.json, R"({"v":1})");
  const auto second = rig->fleet().put_desired(kAgent, R"({"v":2})", seen.desired[0].second.revision);
  ASSERT_TRUE(second);
  ASSERT_TRUE(seen.wait([&] { return seen.desired.size() == 2; }));
  EXPECT_EQ(seen.desired[1].second.json, R"({"v":2})");
  EXPECT_EQ(seen.desired[1].second.revision, *second);
  EXPECT_GT(seen.desired[1].second.revision, seen.desired[0].second.revision);

  seen.uplink->disconnect();
  ASSERT_EQ(seen.connect().change, LinkChange::kLost);
  ASSERT_TRUE(seen.wait([&] { return seen.connected(); }));
  ASSERT_TRUE(seen.wait([&] { return seen.desired.size() == 3; }));
  EXPECT_EQ(seen.desired[2].second.json, R"({"v":2})");

  // A second watch of the same device, made while connected, gets what is there already.
  ASSERT_TRUE(rig->fleet().put_desired(kSensor, R"({"rate":5})", std::nullopt));
  seen.uplink->watch_desired(kSensor);
  ASSERT_TRUE(seen.wait([&] { return seen.desired.size() == 4; }));
  EXPECT_EQ(seen.desired[3].first, kSensor);
  ASSERT_TRUE(rig->fleet().remove_desired(kAgent));
  ASSERT_TRUE(seen.wait([&] { return seen.desired.size() == 5; }));
  EXPECT_EQ(seen.desired[4].first, kAgent);
  EXPECT_EQ(seen.desired[4].second.json, "");
  EXPECT_TRUE(seen.in_callback_ok);
}

TEST_P(UplinkContract, DesiredTextIsPassedOnUnparsed) {
  Observer seen(*rig);
  seen.uplink->watch_desired(kAgent);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  ASSERT_TRUE(rig->fleet().put_desired(kAgent, "{ not json", std::nullopt));
  ASSERT_TRUE(seen.wait([&] { return seen.desired.size() == 1; }));
  EXPECT_EQ(seen.desired[0].second.json, "{ not json");
}

TEST_P(UplinkContract, ReportedIsComparedAndSet) {
  Observer seen(*rig);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  const auto none = seen.ask<TwinValue>([&](auto done) { seen.uplink->get_reported(kAgent, done); });
  ASSERT_TRUE(none) << describe(none.error());
  EXPECT_EQ(none->revision, 0u);
  const auto first = report(seen, R"({"a":1})", 0);
  ASSERT_TRUE(first) << describe(first.error());
  const auto again = report(seen, R"({"a":9})", 0);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kConflict);
  const auto second = report(seen, R"({"a":2})", *first);
  ASSERT_TRUE(second) << describe(second.error());
  EXPECT_GT(*second, *first);
  const auto stale = report(seen, R"({"a":3})", *first);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, Errc::kConflict);
  const auto forced = report(seen, R"({"a":4})", std::nullopt);
  ASSERT_TRUE(forced);
  const auto there = rig->fleet().get_reported(kAgent);
  ASSERT_TRUE(there);
  EXPECT_EQ(there->json, R"({"a":4})");
  EXPECT_EQ(there->revision, *forced);
  const auto wrong = seen.ask<std::uint64_t>([&](auto done) {
    seen.uplink->put_reported({"", "x"}, "{}", 0, done);
  });
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(seen.in_callback_ok);
}

TEST_P(UplinkContract, TelemetryIsInOrderOnceAndWhole) {
  Observer seen(*rig);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  constexpr std::uint64_t kCount = 2000;
  std::vector<Telemetry> batch;
  for (std::uint64_t i = 1; i <= kCount; ++i) batch.push_back(reading(i));
  batch[4].properties = {{"odd =&%\r\n", "v\t\xc3\xa4 "}, {"twice", "1"}, {"twice", "2"}};
  batch[4].body = std::string("\x00\xff\x01 bytes", 9);
  const auto acked = publish(seen, batch);
  ASSERT_TRUE(acked) << describe(acked.error());
  EXPECT_EQ(*acked, kCount);
  const auto repeated = publish(seen, {batch[0], batch[1], reading(kCount + 1)});
  ASSERT_TRUE(repeated);
  EXPECT_EQ(*repeated, 3u);
  const auto there = stored(rig->fleet(), "edge-1");
  ASSERT_EQ(there.size(), kCount + 1);
  for (std::uint64_t i = 0; i <= kCount; ++i) EXPECT_EQ(there[i].id, "edge-1/7/" + std::to_string(i + 1));
  EXPECT_EQ(there[4].body, batch[4].body);
  EXPECT_EQ(there[4].properties, batch[4].properties);
  EXPECT_EQ(there[0].module, "sensor");
  EXPECT_EQ(there[0].output, "temperature");
  EXPECT_EQ(there[0].enqueued, "2023-11-14T22:13:20.000000Z");
  EXPECT_EQ(there[0].properties, batch[0].properties);
  const auto empty = publish(seen, {});
  ASSERT_TRUE(empty);
  EXPECT_EQ(*empty, 0u);
  EXPECT_TRUE(seen.in_callback_ok);
}

TEST_P(UplinkContract, CutInTheMiddleLosesAndRepeatsNothing) {
  Observer seen(*rig);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  constexpr std::uint64_t kCount = 20000;
  std::vector<Telemetry> all;
  for (std::uint64_t i = 1; i <= kCount; ++i) all.push_back(reading(i, std::string(400, 'x')));
  std::uint64_t acked = 0;
  bool cut = false;
  while (acked < kCount) {
    std::optional<Result<std::size_t>> result;
    seen.uplink->publish({all.begin() + static_cast<long>(acked), all.end()},
                         [&](Result<std::size_t> r) { result = r; });
    if (!cut) {
      seen.io->run_one_for(std::chrono::milliseconds(20));
      cut = true;
      rig->cut();
      ASSERT_TRUE(
          seen.wait([&] { return seen.links.back().change == LinkChange::kLost && result.has_value(); }));
      if (*result) acked += **result;
      EXPECT_NE(seen.connect().change, LinkChange::kConnected);
      rig->restore();
      ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
      continue;
    }
    ASSERT_TRUE(seen.wait([&] { return result.has_value(); }));
    ASSERT_TRUE(*result) << describe(result->error());
    acked += **result;
  }
  const auto there = stored(rig->fleet(), "edge-1");
  ASSERT_EQ(there.size(), kCount);
  for (std::uint64_t i = 0; i < kCount; ++i) ASSERT_EQ(there[i].id, "edge-1/7/" + std::to_string(i + 1));
}

TEST_P(UplinkContract, CheckpointNamesTheSameStreamOverReconnects) {
  Observer seen(*rig);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  const auto ask = [&] { return seen.ask<std::string>([&](auto done) { seen.uplink->checkpoint(done); }); };
  const auto first = ask();
  ASSERT_TRUE(first) << describe(first.error());
  ASSERT_TRUE(publish(seen, {reading(1)}));
  rig->cut();
  ASSERT_TRUE(seen.wait([&] { return seen.links.back().change == LinkChange::kLost; }));
  rig->restore();
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  const auto second = ask();
  ASSERT_TRUE(second) << describe(second.error());
  EXPECT_EQ(*first, *second);
}

TEST_P(UplinkContract, MirroredEventsOfBothServicesStayApart) {
  Observer seen(*rig);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  const auto mirror = [&](std::vector<Uplink::MirroredEvent> events) {
    return seen.ask<std::size_t>([&](auto done) { seen.uplink->mirror(std::move(events), done); });
  };
  const auto acked =
      mirror({{1, 1, "agent", R"({"id":"1"})"}, {1, 1, "hub", R"({"id":"1"})"}, {1, 2, "agent", "{}"}});
  ASSERT_TRUE(acked) << describe(acked.error());
  EXPECT_EQ(*acked, 3u);
}

TEST_P(UplinkContract, IdentitiesAreFoundAndWatched) {
  ASSERT_TRUE(rig->fleet().put_identity({"edge-1", ""}, R"({"deviceId":"edge-1"})"));
  Observer seen(*rig);
  seen.uplink->watch_identities("edge-1");
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen.wait([&] { return seen.identities.size() == 1; }));
  EXPECT_EQ(seen.identities[0].first, (TwinKey{"edge-1", ""}));
  ASSERT_TRUE(rig->fleet().put_identity(kSensor, R"({"moduleId":"sensor"})"));
  ASSERT_TRUE(seen.wait([&] { return seen.identities.size() == 2; }));
  EXPECT_EQ(seen.identities[1].first, kSensor);
  const auto found = seen.ask<std::string>([&](auto done) { seen.uplink->get_identity(kSensor, done); });
  ASSERT_TRUE(found) << describe(found.error());
  EXPECT_EQ(*found, R"({"moduleId":"sensor"})");
  ASSERT_TRUE(rig->fleet().remove_identity(kSensor));
  ASSERT_TRUE(seen.wait([&] { return seen.identities.size() == 3; }));
  EXPECT_EQ(seen.identities[2].second, "");
  const auto gone = seen.ask<std::string>([&](auto done) { seen.uplink->get_identity(kSensor, done); });
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::kNotFound);
}

TEST_P(UplinkContract, MethodsGoThereAndBack) {
  Observer seen(*rig);
  seen.uplink->accept_methods(kAgent);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  std::optional<Result<MethodAnswer>> answer;
  std::atomic<bool> done = false;
  std::thread caller([&] {
    answer = rig->fleet().call(kAgent, "Restart.Module", R"({"id":"a"})", std::chrono::seconds(10));
    done = true;
  });
  const bool came = seen.wait([&] { return seen.calls.size() == 1; });
  if (came) seen.uplink->answer_method(seen.calls[0].call_tag, {202, R"({"done":true})"});
  EXPECT_TRUE(seen.wait([&] { return done.load(); }));
  caller.join();
  ASSERT_TRUE(came);
  EXPECT_EQ(seen.calls[0].device, "edge-1");
  EXPECT_EQ(seen.calls[0].module, "$edgeAgent");
  EXPECT_EQ(seen.calls[0].name, "Restart.Module");
  EXPECT_EQ(seen.calls[0].payload, R"({"id":"a"})");
  EXPECT_EQ(seen.calls[0].timeout, std::chrono::seconds(10));
  ASSERT_TRUE(*answer) << describe(answer->error());
  EXPECT_EQ((*answer)->status, 202);
  EXPECT_EQ((*answer)->payload, R"({"done":true})");
  EXPECT_TRUE(seen.in_callback_ok);
}

TEST_P(UplinkContract, AnUnansweredMethodEndsAndAnUnknownOneIsUnavailable) {
  Observer seen(*rig);
  seen.uplink->accept_methods(kAgent);
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  std::optional<Result<MethodAnswer>> late;
  std::optional<Result<MethodAnswer>> nobody;
  std::atomic<bool> done = false;
  std::thread caller([&] {
    late = rig->fleet().call(kAgent, "slow", "null", std::chrono::seconds(1));
    nobody = rig->fleet().call(kSensor, "any", "null", std::chrono::seconds(1));
    done = true;
  });
  EXPECT_TRUE(seen.wait([&] { return done.load(); }));
  caller.join();
  ASSERT_TRUE(*late) << describe(late->error());
  EXPECT_EQ((*late)->status, 504);
  ASSERT_FALSE(*nobody);
  EXPECT_EQ(nobody->error().code, Errc::kUnavailable);
  // Too late: the caller has its answer; nothing to see but that nothing breaks.
  seen.uplink->answer_method(seen.calls.at(0).call_tag, {200, "null"});
}

TEST_P(UplinkContract, CloudMessagesAreAcceptedRetriedAndRejected) {
  Observer seen(*rig);
  seen.uplink->accept_cloud_messages("edge-1");
  ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
  CloudMessage message;
  message.device = "edge-1";
  message.properties = {{"level", "3 %"}};
  message.body = "first";
  ASSERT_TRUE(rig->fleet().send(message));
  ASSERT_TRUE(seen.wait([&] { return seen.messages.size() == 1; }));
  EXPECT_EQ(seen.messages[0].body, "first");
  EXPECT_EQ(seen.messages[0].properties, message.properties);
  seen.uplink->settle(seen.messages[0].delivery_tag, Settle::kRetry);
  ASSERT_TRUE(seen.wait([&] { return seen.messages.size() == 2; }));
  EXPECT_EQ(seen.messages[1].body, "first");
  seen.uplink->settle(seen.messages[1].delivery_tag, Settle::kAccept);
  message.body = std::string("\xff\x00second", 8);
  ASSERT_TRUE(rig->fleet().send(message));
  ASSERT_TRUE(seen.wait([&] { return seen.messages.size() == 3; }));
  EXPECT_EQ(seen.messages[2].body, message.body);
  seen.uplink->settle(seen.messages[2].delivery_tag, Settle::kReject);
  message.body = "third";
  ASSERT_TRUE(rig->fleet().send(message));
  ASSERT_TRUE(seen.wait([&] { return seen.messages.size() == 4; }));
  EXPECT_EQ(seen.messages[3].body, "third");
  EXPECT_TRUE(seen.in_callback_ok);
}

TEST_P(UplinkContract, DestroyedUplinkNeverCallsBack) {
  for (int round = 0; round < 5; ++round) {
    Observer seen(*rig);
    seen.uplink->watch_desired(kAgent);
    ASSERT_EQ(seen.connect().change, LinkChange::kConnected);
    bool called = false;
    seen.uplink->publish({reading(1), reading(2)}, [&](Result<std::size_t>) { called = true; });
    seen.uplink->get_reported(kAgent, [&](Result<TwinValue>) { called = true; });
    seen.uplink->ping(std::chrono::seconds(1), [&](Result<void>) { called = true; });
    for (int step = 0; step < round; ++step) seen.io->run_one_for(std::chrono::milliseconds(1));
    const std::size_t links = seen.links.size();
    called = false;
    seen.uplink.reset();
    seen.io->restart();
    seen.io->run_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(called);
    EXPECT_EQ(seen.links.size(), links);
  }
}

TEST_P(UplinkContract, ListenerMayDestroyTheUplink) {
  Observer seen(*rig);
  ASSERT_TRUE(rig->fleet().put_desired(kAgent, "{}", std::nullopt));
  Listener listener;
  bool arrived = false;
  listener.on_desired = [&](const TwinKey&, const TwinValue&) {
    arrived = true;
    seen.uplink.reset();
  };
  seen.uplink->set_listener(std::move(listener));
  seen.uplink->watch_desired(kAgent);
  seen.uplink->connect();
  EXPECT_TRUE(seen.wait([&] { return arrived; }));
  EXPECT_EQ(seen.uplink, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Kinds, UplinkContract, testing::Values("local", "nats"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace decklog::uplink
