// What the standard demands of a server, statement by statement, over a raw socket.
#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {
namespace {

using namespace std::string_literals;
using mqtt::PacketType;

class ProtocolTest : public BrokerTest {
 protected:
  void SetUp() override { start(); }

  // Sends the bytes on a fresh, connected client; the broker must end the connection.
  void expect_closed_after(const std::string& bytes) {
    auto c = client("victim");
    c.send(bytes);
    EXPECT_TRUE(c.closes_gracefully()) << testing::PrintToString(bytes);
  }
};

const std::string kConnectX = "\x10\x0D\0\4MQTT\4\2\0\0\0\1x"s;

TEST_F(ProtocolTest, ConnectIsAccepted) {  // [MQTT-3.2.0-1]
  MqttClient c(port_);
  const auto answer = c.connect();
  EXPECT_EQ(answer.code, 0);
  EXPECT_FALSE(answer.session_present);  // [MQTT-3.2.2-1]
  c.expect_silence();                    // [MQTT-3.12.4-1]
}

TEST_F(ProtocolTest, FirstPacketMustBeConnect) {  // [MQTT-3.1.0-1]
  for (const auto& first : {"\xC0\0"s, "\x30\3\0\1a"s, "\x82\6\0\1\0\1a\0"s, "\xE0\0"s}) {
    MqttClient c(port_);
    c.send(first);
    EXPECT_TRUE(c.closes_gracefully());
  }
}

TEST_F(ProtocolTest, SecondConnectClosesTheConnection) {  // [MQTT-3.1.0-2]
  expect_closed_after(kConnectX);
}

TEST_F(ProtocolTest, UnsupportedLevelIsAnsweredWithOneAndClosed) {  // [MQTT-3.1.2-2]
  for (const auto& connect : {"\x10\x0D\0\4MQTT\5\2\0\0\0\1x"s, "\x10\x0F\0\6MQIsdp\3\2\0\0\0\1x"s}) {
    MqttClient c(port_);
    c.send(connect);
    EXPECT_EQ(c.expect(PacketType::kConnack).code, 1);
    EXPECT_TRUE(c.closes_gracefully());
  }
}

TEST_F(ProtocolTest, WrongProtocolNameIsClosedWithoutAnswer) {  // [MQTT-3.1.2-1]
  MqttClient c(port_);
  c.send("\x10\x0D\0\4MQTX\4\2\0\0\0\1x"s);
  EXPECT_EQ(c.next(), std::nullopt);
  EXPECT_TRUE(c.closes_gracefully());
}

TEST_F(ProtocolTest, BadConnectFlagsAreClosed) {  // [MQTT-3.1.2-3, -11, -13, -14, -15, -22]
  for (const char flags : {'\x03', '\x0A', '\x22', '\x1E', '\x42'}) {
    auto bytes = kConnectX;
    bytes[9] = flags;
    MqttClient c(port_);
    c.send(bytes);
    EXPECT_EQ(c.next(), std::nullopt) << static_cast<int>(flags);
    EXPECT_TRUE(c.closes_gracefully());
  }
}

TEST_F(ProtocolTest, EmptyClientId) {  // [MQTT-3.1.3-6, -7, -8, -9]
  MqttClient a(port_);
  EXPECT_EQ(a.connect({.id = "", .clean = true}).code, 0);
  MqttClient b(port_);
  EXPECT_EQ(b.connect({.id = "", .clean = true}).code, 0);
  a.expect_silence();  // each got a name of its own
  MqttClient c(port_);
  EXPECT_EQ(c.connect({.id = "", .clean = false}).code, 2);
  EXPECT_TRUE(c.closes_gracefully());
}

TEST_F(ProtocolTest, RefusedConnectIsToldAndClosed) {  // [MQTT-3.2.2-4, -5]
  MqttClient c(port_);
  const auto answer = c.connect({.id = "x", .clean = true, .username = "bad", .password = "pw"});
  EXPECT_EQ(answer.code, 5);
  EXPECT_FALSE(answer.session_present);
  EXPECT_TRUE(c.closes_gracefully());
  EXPECT_TRUE(policy_.wait_for("refused:x:bad-token"));
}

TEST_F(ProtocolTest, RefusalReachesAClientThatHasSentMore) {  // no RST over an unread CONNACK
  MqttClient c(port_);
  mqtt::ConnectPacket packet;
  packet.client_id = "x";
  packet.username = "bad";
  std::string bytes;
  mqtt::append_connect(bytes, packet);
  c.send(bytes + std::string(300'000, '\xC0'));
  EXPECT_EQ(c.expect(PacketType::kConnack).code, 5);
  c.shutdown_write();
  EXPECT_TRUE(c.closes_gracefully());
}

TEST_F(ProtocolTest, AuthenticationMayTakeItsTime) {
  MqttClient c(port_);
  mqtt::ConnectPacket packet;
  packet.client_id = "slow";
  packet.username = "later";
  std::string bytes;
  mqtt::append_connect(bytes, packet);
  c.send(bytes + "\xC0\0"s);  // packets behind CONNECT wait [MQTT-3.1.4-5]
  ASSERT_TRUE(eventually([&] { return on_executor([&] { return policy_.waiting.size(); }) == 1; }));
  on_executor([&] { policy_.waiting.front()({mqtt::ConnectCode::kAccepted, "later", ""}); });
  EXPECT_EQ(c.expect(PacketType::kConnack).code, 0);
  c.expect(PacketType::kPingresp);
}

TEST_F(ProtocolTest, MalformedPacketsCloseTheConnection) {  // [MQTT-4.8.0-1]
  expect_closed_after("\x00\x00"s);                         // type 0
  expect_closed_after("\xF0\x00"s);                         // type 15
  expect_closed_after("\x36\x05\0\1a\0\1"s);                // QoS 3 [MQTT-3.3.1-4]
  expect_closed_after("\x38\x03\0\1a"s);                    // DUP at QoS 0 [MQTT-3.3.1-2]
  expect_closed_after("\x30\x03\0\1+"s);                    // wildcard [MQTT-3.3.2-2]
  expect_closed_after("\x30\x02\0\0"s);                     // empty topic [MQTT-4.7.3-1]
  expect_closed_after("\x30\x03\0\1\0"s);                   // U+0000 [MQTT-1.5.3-2]
  expect_closed_after("\x30\x05\0\3\xED\xA0\x80"s);         // surrogate [MQTT-1.5.3-1]
  expect_closed_after("\x32\x05\0\1a\0\0"s);                // packet id 0 [MQTT-2.3.1-1]
  expect_closed_after("\x30\xFF\xFF\xFF\xFF\x01"s);         // five length bytes
  expect_closed_after("\x80\x06\0\1\0\1a\0"s);              // flags of SUBSCRIBE [MQTT-3.8.1-1]
  expect_closed_after("\x82\x02\0\1"s);                     // no filter [MQTT-3.8.3-3]
  expect_closed_after("\x82\x06\0\1\0\1a\3"s);              // QoS 3 [MQTT-3-8.3-4]
  expect_closed_after("\x82\x07\0\1\0\2a#\0"s);             // [MQTT-4.7.1-2]
  expect_closed_after("\xA0\x05\0\1\0\1a"s);                // flags of UNSUBSCRIBE [MQTT-3.10.1-1]
  expect_closed_after("\xA2\x02\0\1"s);                     // no filter [MQTT-3.10.3-2]
  expect_closed_after("\x60\x02\0\1"s);                     // flags of PUBREL [MQTT-3.6.1-1]
  expect_closed_after("\xE1\x00"s);                         // flags of DISCONNECT [MQTT-3.14.1-1]
  expect_closed_after("\xC0\x01x"s);                        // bytes in PINGREQ
  expect_closed_after("\x20\x02\0\0"s);                     // CONNACK is ours to send
  expect_closed_after("\xD0\x00"s);                         // PINGRESP too
  EXPECT_EQ(stats().protocol_errors, 21u);
}

TEST_F(ProtocolTest, DisconnectClosesAndDropsTheRest) {  // [MQTT-3.14.4-1, -2]
  auto watcher = client("watcher");
  watcher.subscribe("#", 0);
  auto c = client("leaver");
  c.send("\xE0\0"s + "\x30\x03\0\1a"s);
  EXPECT_TRUE(c.closes_gracefully());
  watcher.expect_silence();
  EXPECT_TRUE(policy_.wait_for("disconnected:leaver:disconnect"));
}

TEST_F(ProtocolTest, PacketsMayArriveByteByByte) {
  MqttClient c(port_);
  std::string bytes = kConnectX + "\x82\6\0\1\0\1a\0"s + "\x30\5\0\1ahi"s;
  for (const char byte : bytes) c.send(std::string(1, byte));
  c.expect(PacketType::kConnack);
  c.expect(PacketType::kSuback);
  c.expect_publish("a", "hi");
}

TEST_F(ProtocolTest, ManyPacketsMayArriveAtOnce) {
  MqttClient c(port_);
  std::string bytes = kConnectX + "\x82\6\0\1\0\1a\0"s;
  for (int i = 0; i < 20'000; ++i) bytes += "\x30\5\0\1ahi"s;
  c.send(bytes);
  c.expect(PacketType::kConnack);
  c.expect(PacketType::kSuback);
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(c.expect(PacketType::kPublish).payload, "hi") << i;
}

TEST_F(ProtocolTest, LargeMessagesPassWhole) {
  auto c = client("large");
  c.subscribe("big", 1);
  const std::string payload(900'000, 'x');
  c.publish("big", payload, 1, 7);
  bool acked = false;
  bool came = false;
  while (!acked || !came) {
    const auto packet = c.next();
    ASSERT_TRUE(packet);
    if (packet->type == PacketType::kPuback) acked = true;
    if (packet->type == PacketType::kPublish) came = packet->payload == payload;
  }
  EXPECT_EQ(c.next(0), std::nullopt);
}

TEST_F(ProtocolTest, TooLargePacketIsRefusedAtItsHeader) {
  expect_closed_after("\x30\xFF\xFF\xFF\x7F"s);
}

TEST_F(ProtocolTest, AnswersComeInOrder) {  // [MQTT-4.6.0-2]
  auto c = client("ordered");
  std::string bytes;
  for (std::uint16_t id = 1; id <= 500; ++id) {
    mqtt::PublishPacket packet;
    packet.topic = "t";
    packet.qos = mqtt::Qos::kAtLeastOnce;
    packet.packet_id = id;
    packet.retain = id % 7 == 0;  // these wait for the store
    packet.payload = "x";
    mqtt::append_publish(bytes, packet);
  }
  c.send(bytes);
  for (std::uint16_t id = 1; id <= 500; ++id) ASSERT_EQ(c.expect(PacketType::kPuback).id, id);
}

TEST_F(ProtocolTest, KeepAliveEndsASilentClient) {  // [MQTT-3.1.2-24]
  auto watcher = client("watcher");
  watcher.subscribe("will", 0);
  MqttClient c(port_);
  c.connect({.id = "silent", .clean = true, .keep_alive_s = 1, .will = mqtt::WillView{"will", "gone"}});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(c.closes_gracefully());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1400));
  watcher.expect_publish("will", "gone");
  EXPECT_TRUE(policy_.wait_for("disconnected:silent:keep-alive"));
  EXPECT_EQ(stats().keep_alive_timeouts, 1u);
}

TEST_F(ProtocolTest, AnyPacketKeepsAlive) {
  MqttClient c(port_);
  c.connect({.id = "talker", .clean = true, .keep_alive_s = 1});
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(3500);
  while (std::chrono::steady_clock::now() < until) {
    c.expect_silence();
    c.next(300);  // a pause with a deadline, not a sleep: anything that came would fail the next line
  }
  c.expect_silence();
}

TEST_F(ProtocolTest, TakeoverEndsTheOlderConnection) {  // [MQTT-3.1.4-2]
  auto first = client("same");
  auto second = client("same");
  EXPECT_TRUE(first.closes_gracefully());
  second.expect_silence();
  EXPECT_TRUE(policy_.wait_for("disconnected:same:taken-over"));
  EXPECT_EQ(stats().takeovers, 1u);
}

TEST_F(ProtocolTest, AnotherIdentityMayNotTakeOver) {
  auto owner = client("mine");
  MqttClient thief(port_);
  EXPECT_EQ(thief.connect({.id = "mine", .clean = true, .username = "other"}).code, 2);
  owner.expect_silence();
}

TEST_F(ProtocolTest, UnknownAcknowledgementsAreHarmless) {
  auto c = client("acks");
  c.ack(PacketType::kPuback, 99);
  c.ack(PacketType::kPubcomp, 99);
  c.ack(PacketType::kPubrec, 99);
  EXPECT_EQ(c.expect(PacketType::kPubrel).id, 99);
  c.ack(PacketType::kPubrel, 98);
  EXPECT_EQ(c.expect(PacketType::kPubcomp).id, 98);
  c.expect_silence();
}

}  // namespace
}  // namespace decklog::broker::test
