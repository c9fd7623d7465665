// Bounds: reached, answered, counted, and nobody else notices.
#include <sys/socket.h>

#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {
namespace {

using namespace std::string_literals;
using mqtt::PacketType;

class LimitsTest : public BrokerTest {};

TEST_F(LimitsTest, TenThousandHalfOpenConnectionsAreBounded) {
  BrokerOptions options;
  options.limits.max_half_open = 200;
  start(options);
  auto resident = client("resident");
  std::vector<MqttClient> silent;
  constexpr std::size_t kTotal = 10'000;
  constexpr std::size_t kHeld = 4'000;  // descriptors of this process
  for (std::size_t i = 0; i < kTotal; ++i) {
    MqttClient c(port_);
    if (i % 3 == 0) c.send("\x10\x40\0\4MQ"s);  // some have begun to speak
    if (silent.size() == kHeld) silent.clear();
    silent.push_back(std::move(c));
    if (i % 1000 == 0) resident.expect_silence();
  }
  resident.expect_silence();
  auto late = client("late");
  late.expect_silence();
  const auto now = stats();
  EXPECT_LE(now.half_open, 200u);
  EXPECT_GE(now.half_open_evicted, 1000u);
  EXPECT_LE(now.connections, 4'500u);
  // Said once a second at most, however many there were.
  std::size_t said = 0;
  for (const auto& line : policy_.log()) said += line.starts_with("trouble:half-open") ? 1 : 0;
  EXPECT_GE(said, 1u);
  EXPECT_LE(said, 600u);
}

TEST_F(LimitsTest, ConnectWithoutAnEndIsCutOff) {
  BrokerOptions options;
  options.limits.connect_deadline = std::chrono::milliseconds(400);
  start(options);
  MqttClient silent(port_);
  MqttClient slow(port_);
  slow.send("\x10\x0D\0\4MQTT"s);
  EXPECT_TRUE(silent.closes_gracefully());
  EXPECT_TRUE(slow.closes_gracefully());
}

TEST_F(LimitsTest, ConnectMayNotBeHuge) {
  start();
  MqttClient c(port_);
  c.send("\x10\xFF\xFF\x7F"s);
  EXPECT_TRUE(c.closes_gracefully());
  EXPECT_EQ(stats().protocol_errors, 1u);
}

TEST_F(LimitsTest, ConnectionLimit) {
  BrokerOptions options;
  options.limits.max_connections = 3;
  start(options);
  auto a = client("a");
  auto b = client("b");
  auto c = client("c");
  MqttClient fourth(port_);
  EXPECT_EQ(fourth.next(), std::nullopt);
  EXPECT_TRUE(eventually([&] { return stats().refused_full == 1; }));
  a.expect_silence();
  b.disconnect();
  EXPECT_TRUE(b.closes_gracefully());
  ASSERT_TRUE(eventually([&] { return stats().connections == 2; }));
  client("d").expect_silence();
}

TEST_F(LimitsTest, SubscriptionLimit) {
  BrokerOptions options;
  options.limits.max_subscriptions_per_client = 2;
  start(options);
  auto c = client("c");
  EXPECT_EQ(c.subscribe("a", 1), "\1"s);
  EXPECT_EQ(c.subscribe("b", 1), "\1"s);
  EXPECT_EQ(c.subscribe("d", 1), "\x80"s);
  EXPECT_EQ(c.subscribe("a", 0), "\0"s);  // what it holds it may change
}

// A reader that never reads: its QoS 0 messages are dropped and counted, memory stays bounded, others go on.
TEST_F(LimitsTest, SlowReaderIsBounded) {
  BrokerOptions options;
  options.limits.max_output_bytes = 64u << 10;
  start(options);
  auto slow = client("slow");
  const int small = 64 << 10;
  ::setsockopt(slow.descriptor(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  slow.subscribe("flood", 0);
  auto quick = client("quick");
  quick.subscribe("flood", 0);
  auto writer = client("writer");
  const std::string payload(8'192, 'x');
  std::size_t came = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 5; ++i) writer.publish("flood", payload);
    for (int i = 0; i < 5; ++i) came += quick.expect(PacketType::kPublish).payload == payload ? 1 : 0;
  }
  EXPECT_EQ(came, 1000u);
  EXPECT_GT(stats().dropped_slow_qos0, 0u);
  // It is still a client: what it missed is gone, the rest is whole.
  const auto whole = 1000u - stats().dropped_slow_qos0;
  EXPECT_GT(whole, 0u);
  for (std::size_t i = 0; i < whole; ++i) ASSERT_EQ(slow.expect(PacketType::kPublish).payload, payload) << i;
  slow.expect_silence();
}

// At QoS 1 nothing is dropped for a persistent session: it waits in the store.
TEST_F(LimitsTest, SlowReaderLosesNothingAtQosOne) {
  BrokerOptions options;
  options.limits.max_output_bytes = 32u << 10;
  options.limits.outbox.window = 8;
  start(options);
  auto slow = client("slow", false);
  slow.subscribe("q", 1);
  auto writer = client("writer");
  const std::string payload(4'096, 'x');
  for (std::uint16_t i = 1; i <= 400; ++i) {
    writer.publish("q", payload + std::to_string(i), 1, i);
    ASSERT_EQ(writer.expect(PacketType::kPuback).id, i);
  }
  for (int i = 1; i <= 400; ++i) {
    const auto m = slow.expect_publish("q", payload + std::to_string(i));
    slow.ack(PacketType::kPuback, m.id);
  }
}

TEST_F(LimitsTest, CleanSessionQueueIsBoundedAndCounted) {
  BrokerOptions options;
  options.limits.outbox.window = 4;
  options.limits.outbox.messages = 10;
  start(options);
  auto reader = client("reader");
  reader.subscribe("q", 1);
  auto writer = client("writer");
  for (std::uint16_t i = 1; i <= 30; ++i) {
    writer.publish("q", std::to_string(i), 1, i);
    ASSERT_EQ(writer.expect(PacketType::kPuback).id, i);
  }
  EXPECT_EQ(stats().dropped_full_qos1, 20u);
  for (int i = 1; i <= 10; ++i)
    reader.ack(PacketType::kPuback, reader.expect_publish("q", std::to_string(i)).id);
  reader.expect_silence();
}

// Retained messages wait for room: a bound of the queue is no reason not to send one [MQTT-3.3.1-6].
TEST_F(LimitsTest, RetainedMessagesBeyondTheQueueOfACleanSessionAllCome) {
  BrokerOptions options;
  options.limits.outbox.window = 4;
  options.limits.outbox.messages = 10;
  start(options);
  auto writer = client("writer");
  for (std::uint16_t i = 1; i <= 100; ++i) {
    writer.publish("r/" + std::to_string(100 + i), std::to_string(i), i % 2 + 1, i, true);
    writer.expect(i % 2 == 0 ? PacketType::kPuback : PacketType::kPubrec);
    if (i % 2 != 0) writer.ack(PacketType::kPubrel, i), writer.expect(PacketType::kPubcomp);
  }
  auto reader = client("reader");
  reader.subscribe("r/#", 2);
  for (int came = 0, done = 0; done < 100;) {
    const auto m = reader.next();
    ASSERT_TRUE(m.has_value()) << came;
    if (m->type == PacketType::kPubrel) {
      reader.ack(PacketType::kPubcomp, m->id);
      ++done;
      continue;
    }
    ASSERT_EQ(m->payload, std::to_string(++came));
    EXPECT_TRUE(m->retain);
    reader.ack(m->qos == 1 ? PacketType::kPuback : PacketType::kPubrec, m->id);
    if (m->qos == 1) ++done;
  }
  reader.expect_silence();
  EXPECT_EQ(stats().dropped_full_qos1, 0u);
}

TEST_F(LimitsTest, RetainedMessagesAtQosZeroWaitForASlowReader) {
  BrokerOptions options;
  options.limits.max_output_bytes = 64u << 10;
  start(options);
  auto writer = client("writer");
  const std::string payload(64'000, 'x');
  constexpr int kTopics = 400;  // far more than the sockets between us hold
  for (int i = 0; i < kTopics; ++i) writer.publish("r/" + std::to_string(1000 + i), payload, 0, 0, true);
  writer.expect_silence();
  auto reader = client("reader");
  reader.subscribe("r/#", 0);
  for (int i = 0; i < 20; ++i) writer.expect_silence();  // it had its turns
  for (int i = 0; i < kTopics; ++i)
    ASSERT_EQ(reader.expect(PacketType::kPublish).topic, "r/" + std::to_string(1000 + i));
  reader.expect_silence();
  EXPECT_EQ(stats().dropped_slow_qos0, 0u);
}

// Who asks and never reads the answers is not heard any more until there is room for them.
TEST_F(LimitsTest, AnswersNobodyReadsAreBounded) {
  BrokerOptions options;
  options.limits.max_output_bytes = 16u << 10;
  options.limits.max_packet_bytes = 64u << 10;
  start(options);
  auto asker = client("asker");
  auto other = client("other");
  std::string pings;
  for (int i = 0; i < 32 * 1024; ++i) mqtt::append_empty(pings, PacketType::kPingreq);
  constexpr std::size_t kFarTooMuch = 100u << 20;
  std::size_t sent = 0;
  for (int refused = 0; refused < 50 && sent < kFarTooMuch;) {
    const auto count = ::send(asker.descriptor(), pings.data() + sent % 2, pings.size() - sent % 2,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<std::size_t>(count);
    refused = count > 0 ? 0 : refused + 1;
    if (count <= 0) other.expect_silence();  // the broker had another turn
  }
  EXPECT_LT(sent, kFarTooMuch);
  std::vector<char> answers(1u << 20);
  for (std::size_t left = sent / 2 * 2; left > 0;) {
    const auto count = ::recv(asker.descriptor(), answers.data(), std::min(left, answers.size()), 0);
    ASSERT_GT(count, 0);
    left -= static_cast<std::size_t>(count);
  }
  if (sent % 2 != 0) asker.send(std::string(1, '\0'));
  asker.expect_silence();
}

// A publisher whose answers wait is not read for a while instead of filling our memory.
TEST_F(LimitsTest, UnacknowledgedPublishesAreBounded) {
  BrokerOptions options;
  options.limits.max_unacknowledged_publishes = 32;
  start(options);
  auto writer = client("writer");
  std::string bytes;
  for (std::uint16_t i = 1; i <= 100; ++i) {
    mqtt::PublishPacket packet;
    packet.topic = "intercept/x";
    packet.qos = mqtt::Qos::kAtLeastOnce;
    packet.packet_id = i;
    mqtt::append_publish(bytes, packet);
  }
  writer.send(bytes);
  ASSERT_TRUE(eventually([&] { return on_executor([&] { return policy_.held.size(); }) == 32; }));
  for (std::size_t answered = 0; answered < 100;) {
    answered += on_executor([&] {
      const auto held = std::exchange(policy_.held, {});
      for (const auto& done : held) done(true);
      return held.size();
    });
  }
  for (std::uint16_t i = 1; i <= 100; ++i) ASSERT_EQ(writer.expect(PacketType::kPuback).id, i);
}

// Half-written packets cost what has arrived, not what was announced.
TEST_F(LimitsTest, AnnouncedBytesAreNotAllocated) {
  start();
  std::vector<MqttClient> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(client("c" + std::to_string(i)));
    clients.back().send("\x30\xF0\xFF\x3F\0\1a"s);  // a megabyte, says the header
  }
  auto other = client("other");
  other.expect_silence();
  EXPECT_EQ(stats().connections, 51u);
}

}  // namespace
}  // namespace decklog::broker::test
