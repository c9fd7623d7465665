// Sessions that outlive connections and the broker; nothing is said before it is durable.
#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {
namespace {

using namespace std::string_literals;
using mqtt::PacketType;

class SessionTest : public BrokerTest {
 protected:
  void park(const std::string& id, const std::string& filter, int qos) {
    auto c = client(id, false);
    c.subscribe(filter, qos);
    c.disconnect();
    EXPECT_TRUE(c.closes_gracefully());
  }
  MqttClient back(const std::string& id) {
    MqttClient c(port_);
    EXPECT_TRUE(c.connect({.id = id, .clean = false}).session_present);
    return c;
  }
  void publish_acked(MqttClient& writer, const std::string& payload, int qos, std::uint16_t id) {
    writer.publish("q", payload, qos, id);
    if (qos == 1) {
      EXPECT_EQ(writer.expect(PacketType::kPuback).id, id);
    }
    if (qos == 2) {
      EXPECT_EQ(writer.expect(PacketType::kPubrec).id, id);
      writer.ack(PacketType::kPubrel, id);
      EXPECT_EQ(writer.expect(PacketType::kPubcomp).id, id);
    }
  }
};

TEST_F(SessionTest, SessionPresentIsSaid) {  // [MQTT-3.2.2-1..-3]
  start();
  {
    MqttClient c(port_);
    EXPECT_FALSE(c.connect({.id = "s", .clean = false}).session_present);
  }
  ASSERT_TRUE(policy_.wait_for("disconnected:s"));
  back("s").disconnect();
  {
    MqttClient c(port_);
    EXPECT_FALSE(c.connect({.id = "s", .clean = true}).session_present);  // [MQTT-3.1.2-6]
  }
  MqttClient c(port_);
  EXPECT_FALSE(c.connect({.id = "s", .clean = false}).session_present);
}

TEST_F(SessionTest, MessagesWaitForAnOfflineClient) {  // [MQTT-3.1.2-5]
  start();
  park("s", "q", 2);
  auto writer = client("w");
  writer.publish("q", "lost", 0);
  publish_acked(writer, "one", 1, 1);
  publish_acked(writer, "two", 2, 2);
  publish_acked(writer, "three", 1, 3);
  auto c = back("s");
  std::vector<Received> came;
  for (const auto* payload : {"one", "two", "three"}) {
    came.push_back(c.expect_publish("q", payload));
    EXPECT_FALSE(came.back().duplicate);
    EXPECT_FALSE(came.back().retain);
  }
  for (const auto& m : came) {
    c.ack(m.qos == 1 ? PacketType::kPuback : PacketType::kPubrec, m.id);
    if (m.qos == 2) {
      EXPECT_EQ(c.expect(PacketType::kPubrel).id, m.id);
      c.ack(PacketType::kPubcomp, m.id);
    }
  }
  c.expect_silence();
  EXPECT_TRUE(eventually([&] { return on_executor([&] { return store_->messages(); }) == 0; }));
}

TEST_F(SessionTest, UnacknowledgedMessagesComeAgain) {  // [MQTT-4.4.0-1, 3.3.1-1]
  start();
  std::vector<std::uint16_t> ids;
  {
    auto c = client("s", false);
    c.subscribe("q", 2);
    auto writer = client("w");
    for (std::uint16_t i = 1; i <= 3; ++i) publish_acked(writer, std::to_string(i), 1, i);
    for (int i = 1; i <= 3; ++i) ids.push_back(c.expect_publish("q", std::to_string(i)).id);
    c.ack(PacketType::kPuback, ids[1]);
    c.expect_silence();
  }
  ASSERT_TRUE(policy_.wait_for("disconnected:s"));
  auto c = back("s");
  for (const int i : {1, 3}) {
    const auto m = c.expect_publish("q", std::to_string(i));
    EXPECT_TRUE(m.duplicate);
    EXPECT_EQ(m.id, ids[static_cast<std::size_t>(i - 1)]);
    c.ack(PacketType::kPuback, m.id);
  }
  c.expect_silence();
}

TEST_F(SessionTest, CleanSessionForgetsEverything) {  // [MQTT-3.1.2-6]
  start();
  park("s", "q", 1);
  auto writer = client("w");
  publish_acked(writer, "m", 1, 1);
  auto c = client("s", true);
  publish_acked(writer, "n", 1, 2);
  c.expect_silence();
  EXPECT_TRUE(policy_.wait_for("session-ended:s:clean"));
}

TEST_F(SessionTest, SubscriptionsAndQueuesSurviveACrash) {
  start();
  park("s", "q", 2);
  auto writer = client("w");
  publish_acked(writer, "one", 1, 1);
  writer.publish("kept", "v", 1, 2, true);
  writer.expect(PacketType::kPuback);
  restart(Stop::kCrash);
  auto again = client("w2");
  publish_acked(again, "two", 1, 1);
  auto c = back("s");
  EXPECT_TRUE(c.expect_publish("q", "one").duplicate);  // it may have been sent by the broker that died
  EXPECT_FALSE(c.expect_publish("q", "two").duplicate);
  again.subscribe("kept", 0);
  EXPECT_TRUE(again.expect_publish("kept", "v").retain);
}

TEST_F(SessionTest, QosTwoTowardsTheClientSurvivesACrash) {
  start();
  std::uint16_t first = 0;
  std::uint16_t second = 0;
  {
    auto c = client("s", false);
    c.subscribe("q", 2);
    auto writer = client("w");
    publish_acked(writer, "a", 2, 1);
    publish_acked(writer, "b", 2, 2);
    first = c.expect_publish("q", "a").id;
    second = c.expect_publish("q", "b").id;
    c.ack(PacketType::kPubrec, first);
    EXPECT_EQ(c.expect(PacketType::kPubrel).id, first);
  }
  restart(Stop::kCrash);
  auto c = back("s");
  // "a" was received: only its release is repeated. "b" was not: it comes again under its identifier.
  EXPECT_EQ(c.expect(PacketType::kPubrel).id, first);
  const auto b = c.expect_publish("q", "b");
  EXPECT_EQ(b.id, second);
  EXPECT_TRUE(b.duplicate);
  c.ack(PacketType::kPubcomp, first);
  c.ack(PacketType::kPubrec, second);
  c.expect(PacketType::kPubrel);
  c.ack(PacketType::kPubcomp, second);
  c.expect_silence();
}

TEST_F(SessionTest, QosTwoFromTheClientSurvivesACrash) {
  start();
  park("reader", "q", 2);
  {
    auto writer = client("w", false);
    writer.publish("q", "once", 2, 9);
    EXPECT_EQ(writer.expect(PacketType::kPubrec).id, 9);
  }
  restart(Stop::kCrash);
  {
    auto writer = back("w");
    writer.publish("q", "once", 2, 9, false, true);  // its PUBREC was lost, says the client
    writer.expect(PacketType::kPubrec);
    writer.ack(PacketType::kPubrel, 9);
    writer.expect(PacketType::kPubcomp);
  }
  auto reader = back("reader");
  const auto m = reader.expect_publish("q", "once");
  reader.ack(PacketType::kPubrec, m.id);
  reader.expect(PacketType::kPubrel);
  reader.ack(PacketType::kPubcomp, m.id);
  reader.expect_silence();
}

TEST_F(SessionTest, PubackWaitsForTheDisk) {
  start({}, Commit::kByHand);
  MqttClient c(port_);
  mqtt::ConnectPacket connect;
  connect.client_id = "s";
  connect.clean_session = false;
  std::string bytes;
  mqtt::append_connect(bytes, connect);
  c.send(bytes);
  EXPECT_EQ(c.next(200), std::nullopt);  // the session itself is not durable yet
  on_executor([&] { store_->commit(); });
  EXPECT_EQ(c.expect(PacketType::kConnack).code, 0);
  c.send("\x82\6\0\1\0\1q\1"s);
  auto writer = client("w");
  writer.expect_silence();
  on_executor([&] { store_->commit(); });
  c.expect(PacketType::kSuback);

  writer.publish("elsewhere", "x", 1, 1);  // nobody to keep it for: at once
  EXPECT_EQ(writer.expect(PacketType::kPuback).id, 1);
  writer.publish("q", "m", 1, 2);
  writer.publish("elsewhere", "y", 1, 3);  // behind the one that waits
  writer.expect_silence();
  c.expect_silence();  // not delivered before it is durable either
  on_executor([&] { store_->commit(); });
  EXPECT_EQ(writer.expect(PacketType::kPuback).id, 2);
  EXPECT_EQ(writer.expect(PacketType::kPuback).id, 3);
  c.expect_publish("q", "m");
}

TEST_F(SessionTest, WhatIsNotAcknowledgedMayBeLostInACrash) {
  start({}, Commit::kByHand);
  MqttClient c(port_);
  c.send("\x10\x0D\0\4MQTT\4\0\0\0\0\1s\x82\6\0\1\0\1q\1"s);
  ASSERT_TRUE(eventually([&] { return stats().sessions == 1; }));
  on_executor([&] { store_->commit(); });
  c.expect(PacketType::kConnack);
  ASSERT_TRUE(eventually([&] { return stats().subscriptions == 1; }));
  on_executor([&] { store_->commit(); });
  c.expect(PacketType::kSuback);
  auto writer = client("w");
  writer.publish("q", "m", 1, 2);
  writer.expect_silence();
  restart(Stop::kCrash);
  EXPECT_EQ(stats().sessions, 1u);
  EXPECT_EQ(on_executor([&] { return store_->messages(); }), 0u);
}

TEST_F(SessionTest, AFailingStoreNeverAcknowledges) {
  start({}, Commit::kByHand);
  auto bystander = client("bystander");
  auto writer = client("w");
  writer.publish("keep", "v", 1, 5, true);
  writer.expect_silence();
  on_executor([&] { store_->fail(error(Errc::kNoSpace, "disk full")); });
  EXPECT_EQ(writer.next(), std::nullopt);
  EXPECT_TRUE(writer.closes_gracefully());
  EXPECT_TRUE(policy_.wait_for("disconnected:w:store-failed"));
  bystander.expect_silence();
}

// The disk decides when: `sender` of QoS 2 messages and the parked reader of "q" are durable.
class SlowDiskTest : public SessionTest {
 protected:
  void SetUp() override {
    start({}, Commit::kByHand);
    park_by_hand("reader");
    park_by_hand("sender");
    commit();
  }
  void commit() {
    on_executor([&] { store_->commit(); });
  }
  void park_by_hand(const std::string& id) {
    MqttClient c(port_);
    c.send("\x10\x12\0\4MQTT\4\0\0\0\0\6"s + id + "\x82\6\0\1\0\1q\2"s);
    ASSERT_TRUE(eventually([&] { return on_executor([&] { return broker_->stats().connections; }) == 1; }));
    for (const auto answer : {PacketType::kConnack, PacketType::kSuback}) {
      std::optional<Received> said;
      ASSERT_TRUE(eventually([&] {
        commit();
        said = c.next(20);
        return said.has_value();
      }));
      ASSERT_EQ(said->type, answer);
    }
    c.disconnect();
    EXPECT_TRUE(c.closes_gracefully());
  }
  std::size_t kept() {
    return on_executor([&] { return store_->messages(); });
  }
};

TEST_F(SlowDiskTest, ARepeatedQosTwoMessageWaitsForTheDiskAsItsFirstCopy) {
  auto first = back("sender");
  first.publish("q", "once", 2, 9);
  first.expect_silence();
  auto second = back("sender");  // takes the session over
  second.publish("q", "once", 2, 9, false, true);
  second.expect_silence();
  EXPECT_EQ(kept(), 2u);  // one copy each for the two that listen
  commit();
  EXPECT_EQ(second.expect(PacketType::kPubrec).id, 9);
  EXPECT_EQ(kept(), 2u);
}

TEST_F(SlowDiskTest, AQosTwoMessageThatTheDiskDidNotKeepIsNewWhenItComesAgain) {
  auto first = back("sender");
  first.publish("q", "once", 2, 9);
  first.expect_silence();
  on_executor([&] { store_->fail(error(Errc::kNoSpace, "disk full")); });
  EXPECT_EQ(first.next(), std::nullopt);
  EXPECT_TRUE(first.closes_gracefully());
  EXPECT_EQ(kept(), 0u);
  auto second = back("sender");
  second.publish("q", "once", 2, 9, false, true);
  second.expect_silence();
  commit();
  EXPECT_EQ(second.expect(PacketType::kPubrec).id, 9);
  EXPECT_EQ(kept(), 2u);
}

TEST_F(SlowDiskTest, ARepeatedQosTwoMessageWaitsForThePolicyThatHasItsFirstCopy) {
  const auto asked = [&] { return on_executor([&] { return policy_.held.size(); }); };
  for (const bool taken : {false, true}) {
    auto first = back("sender");
    first.publish("intercept/x", "needed", 2, 7);
    ASSERT_TRUE(eventually([&] { return asked() == 1; }));
    auto second = back("sender");
    second.publish("intercept/x", "needed", 2, 7, false, true);
    second.expect_silence();
    commit();
    second.expect_silence();  // the identifier is on disk; what is done with the message is not known
    EXPECT_EQ(asked(), 1u);
    on_executor([&] {
      policy_.held.front()(taken);
      policy_.held.clear();
    });
    if (taken) {
      EXPECT_EQ(second.expect(PacketType::kPubrec).id, 7);
      second.ack(PacketType::kPubrel, 7);
      second.expect_silence();
      commit();
      EXPECT_EQ(second.expect(PacketType::kPubcomp).id, 7);
    } else {
      EXPECT_TRUE(second.closes_gracefully());
    }
  }
}

TEST_F(SlowDiskTest, ReleasingBeforeTheReceiptIsAnError) {  // [MQTT-4.3.3-1]
  auto sender = back("sender");
  sender.publish("intercept/x", "needed", 2, 7);
  sender.ack(PacketType::kPubrel, 7);
  EXPECT_TRUE(sender.closes_gracefully());
  on_executor([&] {
    policy_.held.front()(true);
    policy_.held.clear();
  });
  commit();
  auto again = back("sender");
  again.publish("intercept/x", "needed", 2, 7, false, true);
  EXPECT_EQ(again.expect(PacketType::kPubrec).id, 7);
  EXPECT_EQ(on_executor([&] { return policy_.held.size(); }), 0u);
}

TEST_F(SessionTest, AcknowledgeAtOnceDoesNotWait) {
  BrokerOptions options;
  options.ack_when = AckWhen::kAtOnce;
  start(options, Commit::kByHand);
  auto writer = client("w");
  writer.publish("keep", "v", 1, 5, true);
  EXPECT_EQ(writer.expect(PacketType::kPuback).id, 5);
}

TEST_F(SessionTest, ALongQueueIsDrainedThroughTheWindow) {
  BrokerOptions options;
  options.limits.outbox.window = 16;
  start(options);
  park("s", "q", 1);
  auto writer = client("w");
  std::string bytes;
  for (std::uint16_t i = 1; i <= 1000; ++i) {
    mqtt::PublishPacket packet;
    const auto payload = std::to_string(i);
    packet.topic = "q";
    packet.payload = payload;
    packet.qos = mqtt::Qos::kAtLeastOnce;
    packet.packet_id = i;
    mqtt::append_publish(bytes, packet);
  }
  writer.send(bytes);
  for (int i = 1; i <= 1000; ++i) ASSERT_EQ(writer.expect(PacketType::kPuback).id, i);
  auto c = back("s");
  for (int i = 1; i <= 16; ++i) c.expect_publish("q", std::to_string(i));
  c.expect_silence();  // the window is full
  const auto id = [&](int i) {
    return static_cast<std::uint16_t>(on_executor([&] { return i % 65'535 + 1; }));
  };
  for (int i = 1; i <= 16; ++i) c.ack(PacketType::kPuback, id(i));
  for (int i = 17; i <= 1000; ++i) {
    const auto m = c.next();
    ASSERT_TRUE(m);
    ASSERT_EQ(m->payload, std::to_string(i));
    c.ack(PacketType::kPuback, m->id);
  }
  c.expect_silence();
}

TEST_F(SessionTest, ClosingKeepsSessionsAndFiresNoWills) {
  start();
  park("s", "q", 1);
  auto watcher = client("watcher", false);
  watcher.subscribe("will", 1);
  MqttClient c(port_);
  c.connect({.id = "x", .clean = true, .will = mqtt::WillView{"will", "bye", mqtt::Qos::kAtLeastOnce}});
  restart(Stop::kCleanly);
  EXPECT_TRUE(c.closes_gracefully());
  auto again = back("watcher");
  again.expect_silence();
  back("s").expect_silence();
}

}  // namespace
}  // namespace decklog::broker::test
