// Packets made by hand to break the server: cut short, ill-formed, contradictory, out of turn. What is
// malformed ends its connection and nothing else [MQTT-4.8.0-1]; what only looks odd is served.
#include <algorithm>

#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {
namespace {

using namespace std::string_literals;
using mqtt::PacketType;

std::string text(const std::string& bytes) {
  return {std::string{static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size() & 0xFF)} + bytes};
}

std::string packet(char first, const std::string& body) {
  std::string out(1, first);
  std::size_t rest = body.size();
  do {
    out += static_cast<char>((rest & 0x7F) | (rest > 0x7F ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return out + body;
}

std::string connect(char flags, const std::string& payload) {
  return packet('\x10', text("MQTT") + "\x04" + flags + "\0\0"s + payload);
}

// Not UTF-8 as the standard has it [MQTT-1.5.3-1, -2].
const std::string kIllFormed[] = {
    "\0"s,               // U+0000
    "a\0b"s,             //
    "\xC0\x80",          // U+0000 in two bytes
    "\xED\xA0\x80",      // U+D800
    "\xED\xBF\xBF",      // U+DFFF
    "\xF4\x90\x80\x80",  // above U+10FFFF
    "\xF8\x88\x80\x80\x80",
    "\x80",          // begins in the middle
    "abcdefg\xC3",   // ends in the middle, after eight bytes at once
    "\xE2\x82",      //
    "\xE0\x9F\xBF",  // overlong
};

class HostileTest : public BrokerTest {
 protected:
  void SetUp() override {
    start();
    resident_ = client("resident");
    resident_.subscribe("seen/#", 2);
  }
  void TearDown() override { resident_.expect_silence(); }

  void refused_at_connect(const std::string& bytes) {
    MqttClient c(port_);
    c.send(bytes);
    EXPECT_EQ(c.next(), std::nullopt) << testing::PrintToString(bytes);
    EXPECT_TRUE(c.closes_gracefully()) << testing::PrintToString(bytes);
  }
  void closed_after(const std::string& bytes) {
    auto c = client("victim");
    c.send(bytes);
    EXPECT_TRUE(c.closes_gracefully()) << testing::PrintToString(bytes);
  }
  MqttClient resident_;
};

TEST_F(HostileTest, EveryCutOfAConnectIsRefused) {
  const std::string body = text("MQTT") + "\x04\xEE\0\x3C"s + text("id") + text("seen/will") + text("gone") +
                           text("user") + text("password");
  for (std::size_t size = 0; size < body.size(); ++size)
    refused_at_connect(packet('\x10', body.substr(0, size)));
  refused_at_connect(packet('\x10', body + "x"));
  MqttClient whole(port_);
  whole.send(packet('\x10', body));
  EXPECT_EQ(whole.expect(PacketType::kConnack).code, 0);
  whole.disconnect();
  EXPECT_TRUE(whole.closes_gracefully());
}

TEST_F(HostileTest, EveryCutOfAnyOtherPacketClosesTheConnection) {
  const std::string two = "\0\1"s;
  struct Whole {
    char first;
    std::string body;
    std::size_t needed;  // of the body
  };
  for (const auto& [first, body, needed] :
       {Whole{'\x82', two + text("seen/x") + "\1", 11}, Whole{'\xA2', two + text("seen/x"), 10},
        Whole{'\x32', text("seen") + two, 8}, Whole{'\x30', text("seen"), 6}, Whole{'\x40', two, 2},
        Whole{'\x50', two, 2}, Whole{'\x62', two, 2}, Whole{'\x70', two, 2}}) {
    ASSERT_EQ(body.size(), needed);
    for (std::size_t size = 0; size < needed; ++size) closed_after(packet(first, body.substr(0, size)));
    if (first != '\x32' && first != '\x30') closed_after(packet(first, body + "\1"));
  }
}

TEST_F(HostileTest, IllFormedTextIsRefusedWhereverItStands) {
  for (const auto& bad : kIllFormed) {
    refused_at_connect(connect('\x02', text(bad)));                              // client id
    refused_at_connect(connect('\x06', text("id") + text(bad) + text("will")));  // will topic
    refused_at_connect(connect('\x82', text("id") + text(bad)));                 // user name
    closed_after(packet('\x30', text("seen/" + bad)));                           // topic
    closed_after(packet('\x82', "\0\1"s + text("seen/ok") + "\0"s + text("seen/" + bad) + "\0"s));  // filter
    closed_after(packet('\xA2', "\0\1"s + text("seen/" + bad)));
  }
}

TEST_F(HostileTest, BytesThatAreNotTextMayBeAnything) {
  for (const auto& bytes : kIllFormed) {
    MqttClient c(port_);
    c.send(connect('\xC6', text("binary") + text("seen/will") + text(bytes) + text("user") + text(bytes)));
    EXPECT_EQ(c.expect(PacketType::kConnack).code, 0);
    EXPECT_EQ(policy_.last_connect().password, bytes);
    c.close();
    resident_.expect_publish("seen/will", bytes);
  }
  // U+FEFF is a character like others and stays [MQTT-1.5.3-3].
  auto writer = client("writer");
  writer.publish("seen/\xEF\xBB\xBF", "kept");
  resident_.expect_publish("seen/\xEF\xBB\xBF", "kept");
}

TEST_F(HostileTest, FiltersThatAreNone) {  // [MQTT-4.7.1-1, -2, -3, 4.7.3-1]
  for (const char* bad : {"+a", "a+", "a/+b", "a/b+/c", "a/#/b", "#/a", "#/", "a#", "##", "+#", "#+", ""}) {
    closed_after(packet('\x82', "\0\1"s + text(bad) + "\0"s));
    closed_after(packet('\xA2', "\0\1"s + text(bad)));
  }
  for (const char* bad : {"+", "#", "a/#", "a/+/b", "a+", ""}) closed_after(packet('\x30', text(bad)));
  auto c = client("legal");
  for (const char* good : {"+", "#", "/", "//", "+/+", "/+", "a//b", "+/#", "/#", "a/+/b"})
    EXPECT_EQ(c.subscribe(good, 1), "\1") << good;
}

TEST_F(HostileTest, SharedSubscriptionsAreOfAnotherVersion) {
  auto c = client("modern");
  EXPECT_EQ(c.subscribe("$share/group/seen/x", 1), "\1");
  auto writer = client("writer");
  writer.publish("seen/x", "not for it");
  resident_.expect_publish("seen/x", "not for it");
  c.expect_silence();
  writer.publish("$share/group/seen/x", "by its name");
  c.expect_publish("$share/group/seen/x", "by its name");
}

TEST_F(HostileTest, RequestedQosHasNoOtherBits) {  // [MQTT-3-8.3-4]
  for (const char bits : {'\x03', '\x04', '\x40', '\x80', '\xFF'})
    closed_after(packet('\x82', "\0\1"s + text("seen/x") + bits));
}

TEST_F(HostileTest, PacketIdentifierIsNeverZero) {  // [MQTT-2.3.1-1]
  closed_after(packet('\x82', "\0\0"s + text("seen/x") + "\0"s));
  closed_after(packet('\xA2', "\0\0"s + text("seen/x")));
  closed_after(packet('\x32', text("seen/x") + "\0\0"s));
  closed_after(packet('\x34', text("seen/x") + "\0\0"s));
  for (const char type : {'\x40', '\x50', '\x62', '\x70'}) closed_after(packet(type, "\0\0"s));
}

TEST_F(HostileTest, RemainingLengthBeyondFourBytes) {
  for (const char type : {'\x10', '\x30', '\x82', '\xC0'}) {
    refused_at_connect(std::string(1, type) + "\xFF\xFF\xFF\xFF\x01");
    closed_after(std::string(1, type) + "\x80\x80\x80\x80\x00"s);
  }
}

TEST_F(HostileTest, WillsThatAreNone) {
  const std::string id = text("id"), topic = text("seen/will");
  refused_at_connect(connect('\x1E', id + topic + text("x")));  // QoS 3 [MQTT-3.1.2-14]
  refused_at_connect(connect('\x22', id));                      // retained, but none [MQTT-3.1.2-15]
  refused_at_connect(connect('\x0A', id));                      // QoS 1, but none [MQTT-3.1.2-13]
  refused_at_connect(connect('\x06', id + text("seen/#") + text("x")));
  refused_at_connect(connect('\x06', id + text("") + text("x")));
  refused_at_connect(connect('\x06', id + topic));  // no message
  MqttClient c(port_);
  c.send(connect('\x06', id + topic + text("")));  // an empty one is one [MQTT-3.1.2-9]
  c.expect(PacketType::kConnack);
  c.close();
  resident_.expect_publish("seen/will", "");
}

TEST_F(HostileTest, ASecondConnectIsTheClientsEndAndItsWillTellsOfIt) {  // [MQTT-3.1.0-2, 3.1.2-8]
  const std::string first = connect('\x06', text("twice") + text("seen/will") + text("broke the rules"));
  MqttClient c(port_);
  c.send(first + first);
  EXPECT_EQ(c.expect(PacketType::kConnack).code, 0);
  EXPECT_TRUE(c.closes_gracefully());
  resident_.expect_publish("seen/will", "broke the rules");
}

TEST_F(HostileTest, LongNamesPassWhole) {
  const std::string id(60'000, 'i'), topic = "seen/" + std::string(65'530, 't');
  MqttClient c(port_);
  EXPECT_EQ(c.connect({.id = id, .clean = true}).code, 0);
  EXPECT_EQ(policy_.last_connect().client_id, id);
  c.publish(topic, "far", 1, 1);
  c.expect(PacketType::kPuback);
  const auto got = resident_.expect(PacketType::kPublish);
  EXPECT_EQ(got.topic, topic);
  resident_.ack(PacketType::kPuback, got.id);
}

TEST_F(HostileTest, KeepAliveZeroIsNone) {  // [MQTT-3.1.2-24]
  MqttClient never(port_), soon(port_);
  ASSERT_EQ(never.connect({.id = "never", .keep_alive_s = 0}).code, 0);
  ASSERT_EQ(soon.connect({.id = "soon", .keep_alive_s = 1}).code, 0);
  EXPECT_TRUE(soon.closes_gracefully());
  never.expect_silence();
  EXPECT_EQ(stats().keep_alive_timeouts, 1u);
}

TEST_F(HostileTest, AnEmptyRetainedMessageIsDeliveredAndNotKept) {  // [MQTT-3.3.1-10, -11]
  auto writer = client("writer");
  writer.publish("seen/r", "", 1, 1, true);
  writer.expect(PacketType::kPuback);
  const auto got = resident_.expect_publish("seen/r", "");
  EXPECT_FALSE(got.retain);
  resident_.ack(PacketType::kPuback, got.id);
  EXPECT_EQ(stats().retained, 0u);
}

// ---- exchanges that were started and not ended

TEST_F(HostileTest, AcknowledgementsOfTheWrongKindEndNothing) {
  auto writer = client("writer");
  auto reader = client("reader", false);
  reader.subscribe("one/#", 1);
  reader.subscribe("two/#", 2);
  writer.publish("one/x", "at least once", 1, 1);
  writer.publish("two/x", "exactly once", 2, 2);
  writer.ack(PacketType::kPubrel, 2);
  const auto one = reader.expect_publish("one/x", "at least once");
  const auto two = reader.expect_publish("two/x", "exactly once");
  reader.ack(PacketType::kPubcomp, one.id);
  reader.ack(PacketType::kPuback, two.id);
  reader.ack(PacketType::kPubcomp, two.id);  // before PUBREC
  reader.expect_silence();
  reader.close();
  reader = client("reader", false);
  EXPECT_TRUE(reader.expect_publish("one/x", "at least once").duplicate);
  EXPECT_TRUE(reader.expect_publish("two/x", "exactly once").duplicate);
  reader.ack(PacketType::kPuback, one.id);
  reader.ack(PacketType::kPubrec, two.id);
  EXPECT_EQ(reader.expect(PacketType::kPubrel).id, two.id);
  reader.ack(PacketType::kPubcomp, two.id);
  reader.expect_silence();
}

TEST_F(HostileTest, TakeoverKeepsAnOpenQosTwoExchange) {  // [MQTT-4.3.3, 4.4.0-1]
  auto sender = client("sender", false);
  sender.publish("seen/once", "x", 2, 5);
  sender.expect(PacketType::kPubrec);
  auto first = resident_.expect_publish("seen/once", "x");
  auto again = client("sender", false);
  EXPECT_TRUE(sender.closes_gracefully());
  again.publish("seen/once", "x", 2, 5, false, true);
  again.expect(PacketType::kPubrec);
  again.ack(PacketType::kPubrel, 5);
  EXPECT_EQ(again.expect(PacketType::kPubcomp).id, 5);
  resident_.ack(PacketType::kPubrec, first.id);
  resident_.expect(PacketType::kPubrel);
  resident_.ack(PacketType::kPubcomp, first.id);

  auto reader = client("reader", false);
  reader.subscribe("two/#", 2);
  again.publish("two/x", "y", 2, 6);
  again.expect(PacketType::kPubrec);
  const auto sent = reader.expect_publish("two/x", "y");
  auto second = client("reader", false);
  const auto resent = second.expect_publish("two/x", "y");
  EXPECT_TRUE(resent.duplicate);
  EXPECT_EQ(resent.id, sent.id);
  second.ack(PacketType::kPubrec, sent.id);
  second.expect(PacketType::kPubrel);
  auto third = client("reader", false);
  EXPECT_EQ(third.expect(PacketType::kPubrel).id, sent.id);  // the message itself is the client's already
  third.ack(PacketType::kPubcomp, sent.id);
  third.expect_silence();
}

TEST_F(HostileTest, WhatIsNoClientIsCountedEachAndSaidOncePerBurst) {
  constexpr int kMany = 200;
  for (int i = 0; i < kMany; ++i) refused_at_connect("\xC0\0"s);
  MqttClient looks(port_);
  looks.shutdown_write();
  EXPECT_TRUE(looks.closes_gracefully());  // no trouble
  EXPECT_EQ(stats().protocol_errors, static_cast<std::uint64_t>(kMany));
  ASSERT_TRUE(policy_.wait_for("trouble:connection without a client: "));
  const auto lines = policy_.log();
  const auto said = std::count_if(lines.begin(), lines.end(),
                                  [](const std::string& line) { return line.starts_with("trouble:"); });
  EXPECT_LT(said, kMany / 4);
}

TEST_F(HostileTest, AQosTwoMessageThatWasNotTakenIsNewWhenItComesAgain) {
  auto sender = client("sender", false);
  for (const bool taken : {false, true}) {
    sender.publish("intercept/x", "needed", 2, 7, false, !taken);
    ASSERT_TRUE(eventually([&] { return on_executor([&] { return policy_.held.size(); }) == 1; })) << taken;
    on_executor([&] {
      policy_.held.front()(taken);
      policy_.held.clear();
    });
    if (taken) break;
    EXPECT_TRUE(sender.closes_gracefully());
    sender = client("sender", false);
  }
  EXPECT_EQ(sender.expect(PacketType::kPubrec).id, 7);
  sender.publish("intercept/x", "needed", 2, 7, false, true);  // now it is a second copy
  EXPECT_EQ(sender.expect(PacketType::kPubrec).id, 7);
  EXPECT_EQ(on_executor([&] { return policy_.held.size(); }), 0u);
}

TEST_F(HostileTest, ManyOpenQosTwoExchangesAreAnsweredInOrder) {
  constexpr std::uint16_t kMany = 5'000;
  auto sender = client("sender", false);
  std::string publishes, releases;
  for (std::uint16_t id = 1; id <= kMany; ++id) {
    mqtt::PublishPacket publish;
    publish.topic = "nobody/listens";
    publish.qos = mqtt::Qos::kExactlyOnce;
    publish.packet_id = id;
    mqtt::append_publish(publishes, publish);
    mqtt::append_acknowledgement(releases, PacketType::kPubrel, id);
  }
  sender.send(publishes);
  for (std::uint16_t id = 1; id <= kMany; ++id) ASSERT_EQ(sender.expect(PacketType::kPubrec).id, id);
  sender.send(releases);
  for (std::uint16_t id = 1; id <= kMany; ++id) ASSERT_EQ(sender.expect(PacketType::kPubcomp).id, id);
}

}  // namespace
}  // namespace decklog::broker::test
