#include "services/mqtt/decoder.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <string>

namespace decklog::mqtt {
namespace {

using namespace std::string_literals;

constexpr std::uint32_t kLimit = 1'000'000;

std::string text(const std::string& value) {
  std::string out;
  out.push_back(static_cast<char>(value.size() >> 8));
  out.push_back(static_cast<char>(value.size() & 0xFF));
  return out + value;
}

std::string packet(std::uint8_t first, const std::string& body) {
  EXPECT_LT(body.size(), 128u);
  std::string out;
  out.push_back(static_cast<char>(first));
  out.push_back(static_cast<char>(body.size()));
  return out + body;
}

std::string connect(std::uint8_t flags, const std::string& rest, const std::string& name = "MQTT",
                    char level = 4) {
  std::string body = text(name);
  body.push_back(level);
  body.push_back(static_cast<char>(flags));
  body += "\0\x3C"s;
  return packet(0x10, body + rest);
}

Violation frame_violation(const std::string& bytes) {
  return next_frame(bytes, kLimit).violation;
}

template <class Packet>
Violation read(const std::string& bytes, Packet& out) {
  static std::deque<std::string> kept;  // packets are views; the tests look at them afterwards
  const auto frame = next_frame(kept.emplace_back(bytes), kLimit);
  if (frame.status == Frame::Status::kMalformed) return frame.violation;
  EXPECT_EQ(frame.status, Frame::Status::kComplete) << testing::PrintToString(bytes);
  return decode(frame, out);
}

template <class Packet>
Violation read(const std::string& bytes) {
  Packet out;
  return read(bytes, out);
}

TEST(MqttFrame, NeedsMoreUntilThePacketIsWhole) {
  const auto bytes = packet(0x30, text("a/b") + "hello");
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(next_frame(std::string_view(bytes).substr(0, size), kLimit).status, Frame::Status::kNeedMore);
  }
  const auto with_more = bytes + "\xC0";
  const auto frame = next_frame(with_more, kLimit);
  ASSERT_EQ(frame.status, Frame::Status::kComplete);
  EXPECT_EQ(frame.raw, bytes);
  EXPECT_EQ(frame.type, PacketType::kPublish);
}

TEST(MqttFrame, SaysHowMuchIsMissingOnceTheLengthIsKnown) {
  EXPECT_EQ(next_frame("\x30"s, kLimit).expected_bytes, 0u);
  EXPECT_EQ(next_frame("\x30\x80"s, kLimit).expected_bytes, 0u);
  EXPECT_EQ(next_frame("\x30\x80\x01"s, kLimit).expected_bytes, 131u);
}

// 2.2.1, table 2.1 and 2.2: types 0 and 15; every reserved flag combination of every type [MQTT-2.2.2-1, -2].
TEST(MqttFrame, RefusesReservedTypesAndFlagsAtTheFirstByte) {
  for (unsigned first = 0; first < 256; ++first) {
    const auto type = first >> 4;
    const auto flags = first & 0x0F;
    bool legal = type != 0 && type != 15;
    if (type == 3) {
      legal = (flags & 6) != 6 && (flags & 0xE) != 8;
    } else if (type == 6 || type == 8 || type == 10) {
      legal = flags == 2;
    } else {
      legal = legal && flags == 0;
    }
    const auto frame = next_frame(std::string(1, static_cast<char>(first)), kLimit);
    EXPECT_EQ(frame.status == Frame::Status::kNeedMore, legal) << first;
  }
  EXPECT_EQ(frame_violation("\x36"), Violation::kQos);        // [MQTT-3.3.1-4]
  EXPECT_EQ(frame_violation("\x38"), Violation::kDupAtQos0);  // [MQTT-3.3.1-2]
  EXPECT_EQ(frame_violation("\x60"), Violation::kFixedFlags);
  EXPECT_EQ(frame_violation("\xF0"), Violation::kPacketType);
}

TEST(MqttFrame, RemainingLengthHasAtMostFourBytes) {
  EXPECT_EQ(frame_violation("\x30\x80\x80\x80\x80"s), Violation::kRemainingLength);
  EXPECT_EQ(frame_violation("\x30\xFF\xFF\xFF\xFF\x01"s), Violation::kRemainingLength);
  EXPECT_EQ(frame_violation("\x30\xFF\xFF\xFF\x7F"s), Violation::kTooLarge);
  EXPECT_EQ(next_frame("\x30\xFF\xFF\xFF\x7F"s, kMaxPacketBytes).expected_bytes, kMaxPacketBytes);
  // More bytes than needed for the number are legal: only their count is limited.
  EXPECT_EQ(next_frame("\xC0\x80\x00"s, kLimit).status, Frame::Status::kComplete);
}

TEST(MqttFrame, BoundCoversTheWholePacket) {
  const auto bytes = packet(0x30, text("a/b") + "hello");
  EXPECT_EQ(next_frame(bytes, static_cast<std::uint32_t>(bytes.size())).status, Frame::Status::kComplete);
  EXPECT_EQ(next_frame(bytes, static_cast<std::uint32_t>(bytes.size() - 1)).violation, Violation::kTooLarge);
}

TEST(MqttConnect, ReadsEveryField) {
  ConnectPacket c;
  ASSERT_EQ(
      read(connect(0xF6, text("dev/mod") + text("will/t") + text("bye") + text("user") + text("p\0w"s)), c),
      Violation::kNone);
  EXPECT_EQ(c.client_id, "dev/mod");
  EXPECT_TRUE(c.clean_session);
  EXPECT_EQ(c.keep_alive_s, 60);
  EXPECT_EQ(c.will->topic, "will/t");
  EXPECT_EQ(c.will->payload, "bye");
  EXPECT_EQ(c.will->qos, Qos::kExactlyOnce);
  EXPECT_TRUE(c.will->retain);
  EXPECT_EQ(c.username, "user");
  EXPECT_EQ(c.password, "p\0w"s);
}

TEST(MqttConnect, RefusesOtherProtocols) {
  EXPECT_EQ(read<ConnectPacket>(connect(2, text("c"), "MQIsdp", 3)), Violation::kProtocolLevel);
  EXPECT_EQ(read<ConnectPacket>(connect(2, text("c"), "MQTT", 5)), Violation::kProtocolLevel);
  EXPECT_EQ(read<ConnectPacket>(connect(2, text("c"), "MQTT", 3)), Violation::kProtocolLevel);
  EXPECT_EQ(read<ConnectPacket>(connect(2, text("c"), "MQTX", 4)), Violation::kProtocolName);
  EXPECT_EQ(read<ConnectPacket>(connect(2, text("c"), "mqtt", 4)), Violation::kProtocolName);
  EXPECT_EQ(read<ConnectPacket>(connect(2, text("c"), "", 4)), Violation::kProtocolName);
}

TEST(MqttConnect, FlagsMustNotContradictEachOther) {
  const auto body = text("c") + text("t") + text("p") + text("u") + text("p");
  EXPECT_EQ(read<ConnectPacket>(connect(0x03, body)), Violation::kConnectFlags);  // reserved [MQTT-3.1.2-3]
  EXPECT_EQ(read<ConnectPacket>(connect(0x1E, body)),
            Violation::kConnectFlags);  // will QoS 3 [MQTT-3.1.2-14]
  EXPECT_EQ(read<ConnectPacket>(connect(0x0A, body)), Violation::kConnectFlags);  // QoS without will [-13]
  EXPECT_EQ(read<ConnectPacket>(connect(0x22, body)), Violation::kConnectFlags);  // retain without will [-15]
  EXPECT_EQ(read<ConnectPacket>(connect(0x42, body)),
            Violation::kConnectFlags);  // password without user [-22]
}

TEST(MqttConnect, FieldsMustFillThePacketExactly) {
  EXPECT_EQ(read<ConnectPacket>(connect(0x02, text("c") + "x")), Violation::kTrailingBytes);
  EXPECT_EQ(read<ConnectPacket>(connect(0x02,
                                        "\0\x05"
                                        "abc"s)),
            Violation::kTruncated);
  EXPECT_EQ(read<ConnectPacket>(connect(0x82, text("c"))), Violation::kTruncated);
  EXPECT_EQ(read<ConnectPacket>(connect(0x06, text("c") + text("t"))), Violation::kTruncated);
  EXPECT_EQ(read<ConnectPacket>(packet(0x10, "")), Violation::kTruncated);
}

TEST(MqttConnect, StringsAreChecked) {
  EXPECT_EQ(read<ConnectPacket>(connect(0x02, text("c\xFF"))), Violation::kUtf8);
  EXPECT_EQ(read<ConnectPacket>(connect(0x02, text("c\0"s))), Violation::kUtf8);
  EXPECT_EQ(read<ConnectPacket>(connect(0x82, text("c") + text("\xED\xA0\x80"))), Violation::kUtf8);
  EXPECT_EQ(read<ConnectPacket>(connect(0x06, text("c") + text("a/#") + text(""))), Violation::kTopicName);
}

TEST(MqttConnect, EmptyClientIdNeedsACleanSession) {
  ConnectPacket c;
  EXPECT_EQ(read(connect(0x02, text("")), c), Violation::kNone);
  EXPECT_EQ(read(connect(0x00, text("")), c), Violation::kClientIdNeedsClean);
}

TEST(MqttPublish, ReadsEveryField) {
  PublishPacket p;
  ASSERT_EQ(read(packet(0x3D, text("a/b") + "\x12\x34"
                                            "hi"s),
                 p),
            Violation::kNone);
  EXPECT_EQ(p.topic, "a/b");
  EXPECT_EQ(p.packet_id, 0x1234);
  EXPECT_EQ(p.payload, "hi");
  EXPECT_EQ(p.qos, Qos::kExactlyOnce);
  EXPECT_TRUE(p.duplicate);
  EXPECT_TRUE(p.retain);
  ASSERT_EQ(read(packet(0x30, text("a")), p), Violation::kNone);
  EXPECT_EQ(p.payload, "");
  EXPECT_EQ(p.packet_id, 0);
}

TEST(MqttPublish, RefusesBadTopicsAndIds) {
  EXPECT_EQ(read<PublishPacket>(packet(0x30, text("a/+"))), Violation::kTopicName);
  EXPECT_EQ(read<PublishPacket>(packet(0x30, text("#"))), Violation::kTopicName);
  EXPECT_EQ(read<PublishPacket>(packet(0x30, text(""))), Violation::kTopicName);
  EXPECT_EQ(read<PublishPacket>(packet(0x30, text("a\xC0\x80"))), Violation::kUtf8);
  EXPECT_EQ(read<PublishPacket>(packet(0x30, "\0"s)), Violation::kTruncated);
  EXPECT_EQ(read<PublishPacket>(packet(0x30,
                                       "\0\x09"
                                       "a"s)),
            Violation::kTruncated);
  EXPECT_EQ(read<PublishPacket>(packet(0x32, text("a") + "\0\0"s)), Violation::kPacketId);
  EXPECT_EQ(read<PublishPacket>(packet(0x32, text("a") + "\1"s)), Violation::kTruncated);
}

TEST(MqttSubscribe, ReadsRequestsAndRefusesTheRest) {
  SubscribePacket s;
  ASSERT_EQ(read(packet(0x82, "\0\7"s + text("a/#") + "\1" + text("b") + "\2"), s), Violation::kNone);
  EXPECT_EQ(s.packet_id, 7);
  ASSERT_EQ(s.requests.size(), 2u);
  EXPECT_EQ(s.requests[0].filter, "a/#");
  EXPECT_EQ(s.requests[1].qos, Qos::kExactlyOnce);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s)), Violation::kEmptyPayload);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\0"s + text("a") + "\1")), Violation::kPacketId);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s + text("a") + "\3")), Violation::kQos);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s + text("a") + "\4")),
            Violation::kQos);  // reserved bits
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s + text("a"))), Violation::kTruncated);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s + text("a#") + "\1")), Violation::kTopicFilter);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s + text("") + "\1")), Violation::kTopicFilter);
  EXPECT_EQ(read<SubscribePacket>(packet(0x82, "\0\7"s + text("\xFF") + "\1")), Violation::kUtf8);
}

TEST(MqttUnsubscribe, ReadsFiltersAndRefusesTheRest) {
  UnsubscribePacket u;
  ASSERT_EQ(read(packet(0xA2, "\0\7"s + text("a/#") + text("b")), u), Violation::kNone);
  EXPECT_EQ(u.filters.size(), 2u);
  EXPECT_EQ(read<UnsubscribePacket>(packet(0xA2, "\0\7"s)), Violation::kEmptyPayload);
  EXPECT_EQ(read<UnsubscribePacket>(packet(0xA2, "\0\0"s + text("a"))), Violation::kPacketId);
  EXPECT_EQ(read<UnsubscribePacket>(packet(0xA2, "\0\7\0\5"s)), Violation::kTruncated);
}

TEST(MqttSmallPackets, HaveExactlyTheirFields) {
  std::uint16_t id = 0;
  EXPECT_EQ(decode_packet_id(next_frame("\x40\x02\x01\x02"s, kLimit), id), Violation::kNone);
  EXPECT_EQ(id, 0x0102);
  EXPECT_EQ(decode_packet_id(next_frame("\x62\x02\0\0"s, kLimit), id), Violation::kPacketId);
  EXPECT_EQ(decode_packet_id(next_frame("\x40\x01\x01"s, kLimit), id), Violation::kTruncated);
  EXPECT_EQ(decode_packet_id(next_frame("\x40\x03\x01\x02\x03"s, kLimit), id), Violation::kTrailingBytes);
  EXPECT_EQ(decode_empty(next_frame("\xC0\0"s, kLimit)), Violation::kNone);
  EXPECT_EQ(decode_empty(next_frame("\xE0\1x"s, kLimit)), Violation::kTrailingBytes);
}

TEST(MqttServerPackets, AreCheckedToo) {
  ConnackPacket c;
  EXPECT_EQ(read(packet(0x20, "\1\0"s), c), Violation::kNone);
  EXPECT_TRUE(c.session_present);
  EXPECT_EQ(read<ConnackPacket>(packet(0x20, "\2\0"s)), Violation::kConnectFlags);
  EXPECT_EQ(read<ConnackPacket>(packet(0x20, "\1\5"s)), Violation::kConnectFlags);  // [MQTT-3.2.2-4]
  EXPECT_EQ(read<ConnackPacket>(packet(0x20, "\0\6"s)), Violation::kReturnCode);
  EXPECT_EQ(read<SubackPacket>(packet(0x90, "\0\1\2\x80"s)), Violation::kNone);
  EXPECT_EQ(read<SubackPacket>(packet(0x90, "\0\1\3"s)), Violation::kReturnCode);  // [MQTT-3.9.3-2]
}

TEST(MqttViolation, EachHasItsOwnText) {
  for (int i = 0; i <= static_cast<int>(Violation::kReturnCode); ++i) {
    EXPECT_STRNE(describe(static_cast<Violation>(i)), "unknown") << i;
  }
}

}  // namespace
}  // namespace decklog::mqtt
