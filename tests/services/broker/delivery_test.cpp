// Publish and subscribe: QoS, overlap, retained messages, wills, rights.
#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {
namespace {

using namespace std::string_literals;
using mqtt::PacketType;

class DeliveryTest : public BrokerTest {
 protected:
  void SetUp() override { start(); }
};

TEST_F(DeliveryTest, EveryPairOfQos) {  // [MQTT-3.8.4-6]: the lower of the two
  for (int published = 0; published <= 2; ++published) {
    for (int granted = 0; granted <= 2; ++granted) {
      auto reader = client("reader");
      EXPECT_EQ(reader.subscribe("q", granted), std::string(1, static_cast<char>(granted)));
      auto writer = client("writer");
      writer.publish("q", "m", published, 10);
      if (published == 1) {
        EXPECT_EQ(writer.expect(PacketType::kPuback).id, 10);
      }
      if (published == 2) {
        EXPECT_EQ(writer.expect(PacketType::kPubrec).id, 10);
        writer.ack(PacketType::kPubrel, 10);
        EXPECT_EQ(writer.expect(PacketType::kPubcomp).id, 10);
      }
      const auto m = reader.expect_publish("q", "m");
      EXPECT_EQ(m.qos, std::min(published, granted));
      EXPECT_FALSE(m.duplicate);
      EXPECT_FALSE(m.retain);
      if (m.qos == 1) reader.ack(PacketType::kPuback, m.id);
      if (m.qos == 2) {
        reader.ack(PacketType::kPubrec, m.id);
        EXPECT_EQ(reader.expect(PacketType::kPubrel).id, m.id);
        reader.ack(PacketType::kPubcomp, m.id);
      }
      reader.expect_silence();
    }
  }
}

TEST_F(DeliveryTest, Qos2DuplicateIsNotPublishedTwice) {  // [MQTT-4.3.3-2]
  auto reader = client("reader");
  reader.subscribe("q", 0);
  auto writer = client("writer");
  writer.publish("q", "once", 2, 5);
  writer.expect(PacketType::kPubrec);
  writer.publish("q", "once", 2, 5, false, true);
  writer.expect(PacketType::kPubrec);
  writer.ack(PacketType::kPubrel, 5);
  writer.expect(PacketType::kPubcomp);
  writer.publish("q", "again", 2, 5);  // the identifier is free again
  writer.expect(PacketType::kPubrec);
  reader.expect_publish("q", "once");
  reader.expect_publish("q", "again");
  reader.expect_silence();
}

TEST_F(DeliveryTest, OverlappingSubscriptionsGiveOneMessage) {  // [MQTT-3.3.5-1]
  auto c = client("c");
  c.subscribe("a/#", 2);
  c.subscribe("a/+", 1);
  c.subscribe("a/b", 0);
  c.publish("a/b", "m", 2, 3);
  c.expect(PacketType::kPubrec);
  EXPECT_EQ(c.expect_publish("a/b", "m").qos, 2);
  c.expect_silence();
}

TEST_F(DeliveryTest, DuplicateSubscribeDoesNotDouble) {
  auto c = client("c");
  for (int i = 0; i < 3; ++i) c.subscribe("a", 0);
  c.publish("a", "m");
  c.expect_publish("a", "m");
  c.expect_silence();
  EXPECT_EQ(stats().subscriptions, 1u);
}

TEST_F(DeliveryTest, SubscribeAnswersEachFilterInOrder) {  // [MQTT-3.8.4-5, 3.9.3-1]
  auto c = client("c");
  mqtt::SubscribePacket packet;
  packet.packet_id = 77;
  packet.requests = {{"a", mqtt::Qos::kExactlyOnce},
                     {"test/nosubscribe", mqtt::Qos::kAtMostOnce},
                     {"q0/x", mqtt::Qos::kExactlyOnce},
                     {"b", mqtt::Qos::kAtLeastOnce}};
  std::string bytes;
  mqtt::append_subscribe(bytes, packet);
  c.send(bytes);
  EXPECT_EQ(c.expect(PacketType::kSuback).codes, "\x02\x80\x00\x01"s);
}

TEST_F(DeliveryTest, UnsubscribeStopsDelivery) {  // [MQTT-3.10.4-1..-5]
  auto c = client("c");
  c.subscribe("a/#", 0);
  c.unsubscribe("a/b");  // not the same filter: nothing is removed
  c.publish("a/b", "1");
  c.expect_publish("a/b", "1");
  c.unsubscribe("a/#");
  c.publish("a/b", "2");
  c.expect_silence();
  EXPECT_TRUE(policy_.wait_for("unsubscribed:c:a/#"));
}

TEST_F(DeliveryTest, WildcardsDoNotSeeDollarTopics) {  // [MQTT-4.7.2-1]
  auto c = client("c");
  c.subscribe("#", 0);
  c.subscribe("+/x", 0, 2);
  auto writer = client("w");
  writer.publish("$internal/x", "hidden");
  writer.publish("seen/x", "yes");
  c.expect_publish("seen/x", "yes");
  c.subscribe("$internal/#", 0, 3);
  writer.publish("$internal/x", "asked for");
  c.expect_publish("$internal/x", "asked for");
}

TEST_F(DeliveryTest, RetainedMessagesReachLaterSubscribers) {  // [MQTT-3.3.1-5..-12]
  auto writer = client("w");
  for (int qos = 0; qos <= 2; ++qos) writer.publish("r/" + std::to_string(qos), "v", qos, 9, true);
  writer.expect(PacketType::kPuback);
  writer.expect(PacketType::kPubrec);
  auto early = client("early");
  early.subscribe("r/+", 2);
  for (int qos = 0; qos <= 2; ++qos) {
    const auto m = early.expect_publish("r/" + std::to_string(qos), "v");
    EXPECT_TRUE(m.retain);
    EXPECT_EQ(m.qos, qos);
  }
  writer.publish("r/0", "live", 0, 0, true);
  EXPECT_FALSE(early.expect_publish("r/0", "live").retain);  // [MQTT-3.3.1-9]
  early.subscribe("r/0", 0, 2);                              // again at each SUBSCRIBE [MQTT-3.8.4-3]
  EXPECT_TRUE(early.expect_publish("r/0", "live").retain);
  writer.publish("r/0", "", 0, 0, true);
  EXPECT_FALSE(early.expect_publish("r/0", "").retain);
  auto late = client("late");
  late.subscribe("r/0", 0);
  late.expect_silence();
  EXPECT_EQ(stats().retained, 2u);
}

TEST_F(DeliveryTest, WillIsPublishedWhenTheConnectionIsLost) {  // [MQTT-3.1.2-8, -16, -17]
  auto watcher = client("watcher");
  watcher.subscribe("will/#", 1);
  {
    MqttClient c(port_);
    c.connect({.id = "dies",
               .clean = true,
               .will = mqtt::WillView{"will/a", "bye", mqtt::Qos::kAtLeastOnce, true}});
  }
  const auto m = watcher.expect_publish("will/a", "bye");
  EXPECT_EQ(m.qos, 1);
  EXPECT_FALSE(m.retain);
  auto late = client("late");
  late.subscribe("will/a", 0);
  EXPECT_TRUE(late.expect_publish("will/a", "bye").retain);
}

TEST_F(DeliveryTest, WillIsPublishedAfterAProtocolError) {  // [MQTT-3.1.2-8]
  auto watcher = client("watcher");
  watcher.subscribe("will", 0);
  MqttClient c(port_);
  c.connect({.id = "broken", .clean = true, .will = mqtt::WillView{"will", "bye"}});
  c.send("\xF0\0"s);
  watcher.expect_publish("will", "bye");
}

TEST_F(DeliveryTest, WillIsNotPublishedAfterDisconnect) {  // [MQTT-3.1.2-10, 3.14.4-3]
  auto watcher = client("watcher");
  watcher.subscribe("will", 0);
  MqttClient c(port_);
  c.connect({.id = "leaves", .clean = true, .will = mqtt::WillView{"will", "bye"}});
  c.disconnect();
  EXPECT_TRUE(c.closes_gracefully());
  watcher.expect_silence();
}

TEST_F(DeliveryTest, WillNeedsTheRightToPublish) {
  auto watcher = client("watcher");
  watcher.subscribe("#", 0);
  {
    MqttClient c(port_);
    c.connect({.id = "denied", .clean = true, .will = mqtt::WillView{"denied/x", "bye"}});
  }
  EXPECT_TRUE(policy_.wait_for("disconnected:denied"));
  watcher.expect_silence();
}

TEST_F(DeliveryTest, DeniedPublishIsAcknowledgedAndCounted) {
  auto c = client("c");
  c.subscribe("#", 0);
  c.publish("denied/x", "m", 1, 4);
  EXPECT_EQ(c.expect(PacketType::kPuback).id, 4);
  c.expect_silence();
  EXPECT_EQ(stats().dropped_denied, 1u);
  c.publish("fatal", "m");
  EXPECT_TRUE(c.closes_gracefully());
}

TEST_F(DeliveryTest, InterceptedPublishIsAnsweredWhenThePolicySaysSo) {
  auto c = client("c");
  c.subscribe("#", 0);
  c.publish("intercept/a", "1", 1, 11);
  c.publish("plain", "2", 1, 12);  // answered later: answers keep their order
  c.publish("intercept/b", "3", 2, 13);
  c.expect_publish("plain", "2");
  ASSERT_TRUE(policy_.wait_for("intercept:c:intercept/b:3"));
  c.expect_silence();
  on_executor([&] { policy_.held[1](true); });
  c.expect_silence();
  on_executor([&] { policy_.held[0](true); });
  EXPECT_EQ(c.expect(PacketType::kPuback).id, 11);
  EXPECT_EQ(c.expect(PacketType::kPuback).id, 12);
  EXPECT_EQ(c.expect(PacketType::kPubrec).id, 13);
  c.publish("intercept/c", "4", 1, 14);
  ASSERT_TRUE(policy_.wait_for("intercept:c:intercept/c:4"));
  on_executor([&] { policy_.held[2](false); });
  EXPECT_TRUE(c.closes_gracefully());
}

TEST_F(DeliveryTest, DirectDeliveryGoesThroughASubscription) {
  const auto deliver = [&](const std::string& id, const std::string& topic, std::uint64_t token) {
    return on_executor([&] { return broker_->deliver(id, {topic, "p", mqtt::Qos::kAtLeastOnce, token}); });
  };
  EXPECT_EQ(deliver("c", "in/x", 1), DeliverResult::kNotConnected);
  auto c = client("c", false);
  EXPECT_EQ(deliver("c", "in/x", 1), DeliverResult::kNotSubscribed);
  c.subscribe("in/#", 1);
  EXPECT_EQ(deliver("c", "in/x", 7), DeliverResult::kQueued);
  const auto m = c.expect_publish("in/x", "p");
  EXPECT_EQ(m.qos, 1);
  c.close();
  ASSERT_TRUE(policy_.wait_for("disconnected:c"));
  auto again = client("c", false);
  const auto repeated = again.expect_publish("in/x", "p");
  EXPECT_TRUE(repeated.duplicate);
  EXPECT_EQ(repeated.id, m.id);
  again.ack(PacketType::kPuback, repeated.id);
  EXPECT_TRUE(policy_.wait_for("delivered:c:7:acked"));
  EXPECT_EQ(deliver("c", "in/y", 8), DeliverResult::kQueued);
  again.expect_publish("in/y", "p");
  auto clean = client("c", true);
  EXPECT_TRUE(policy_.wait_for("delivered:c:8:given-up"));
}

TEST_F(DeliveryTest, PolicyCanEndAConnection) {
  auto c = client("c", false);
  on_executor([&] { broker_->disconnect("c", "disabled", Broker::SessionFate::kRemove); });
  EXPECT_TRUE(c.closes_gracefully());
  EXPECT_TRUE(policy_.wait_for("disconnected:c:disabled"));
  EXPECT_TRUE(policy_.wait_for("session-ended:c:removed"));
  EXPECT_EQ(stats().sessions, 0u);
}

TEST_F(DeliveryTest, OrderIsKeptForEachQos) {  // [MQTT-4.6.0-6]
  auto reader = client("reader");
  reader.subscribe("t", 2);
  auto writer = client("writer");
  for (std::uint16_t i = 1; i <= 300; ++i) writer.publish("t", std::to_string(i), 1, i);
  for (int i = 1; i <= 300; ++i) {
    const auto m = reader.expect_publish("t", std::to_string(i));
    reader.ack(PacketType::kPuback, m.id);
  }
}

}  // namespace
}  // namespace decklog::broker::test
