// encode, then decode: the same packet, whatever its values are.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>

#include "services/mqtt/decoder.hpp"
#include "services/mqtt/encoder.hpp"
#include "services/mqtt/text.hpp"

namespace decklog::mqtt {
namespace {

rc::Gen<std::string> topic_text() {
  return rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab/ $%0\x7F"))));
}
rc::Gen<std::string> blob() {
  return rc::gen::arbitrary<std::string>();
}

template <class Packet>
Packet decoded(const std::string& bytes) {
  const auto frame = next_frame(bytes, kMaxPacketBytes);
  RC_ASSERT(frame.status == Frame::Status::kComplete);
  RC_ASSERT(frame.raw.size() == bytes.size());
  Packet packet;
  RC_ASSERT(decode(frame, packet) == Violation::kNone);
  return packet;
}

TEST(MqttRoundTrip, Publish) {
  EXPECT_TRUE(rc::check([] {
    const auto topic = *topic_text();
    auto payload = *blob();
    payload += std::string(*rc::gen::elementOf(std::vector<std::size_t>{0, 127, 16'384, 70'000}), 'x');
    PublishPacket p;
    p.topic = topic;
    p.payload = payload;
    p.qos = static_cast<Qos>(*rc::gen::inRange(0, 3));
    p.retain = *rc::gen::arbitrary<bool>();
    p.duplicate = p.qos != Qos::kAtMostOnce && *rc::gen::arbitrary<bool>();
    if (p.qos != Qos::kAtMostOnce) p.packet_id = static_cast<std::uint16_t>(*rc::gen::inRange(1, 65'536));
    std::string bytes;
    append_publish(bytes, p);
    RC_ASSERT(bytes.size() == publish_bytes(p));
    const auto q = decoded<PublishPacket>(bytes);
    RC_ASSERT(q.topic == p.topic && q.payload == p.payload && q.qos == p.qos && q.retain == p.retain &&
              q.duplicate == p.duplicate && q.packet_id == p.packet_id);
  }));
}

TEST(MqttRoundTrip, Connect) {
  EXPECT_TRUE(rc::check([] {
    const auto id = *topic_text();
    const auto topic = *topic_text();
    const auto payload = *blob();
    const auto user = *topic_text();
    ConnectPacket c;
    c.client_id = id;
    c.clean_session = *rc::gen::arbitrary<bool>();
    c.keep_alive_s = *rc::gen::arbitrary<std::uint16_t>();
    if (*rc::gen::arbitrary<bool>())
      c.will = WillView{topic, payload, static_cast<Qos>(*rc::gen::inRange(0, 3)), true};
    if (*rc::gen::arbitrary<bool>()) c.username = user;
    if (c.username && *rc::gen::arbitrary<bool>()) c.password = payload;
    std::string bytes;
    append_connect(bytes, c);
    const auto d = decoded<ConnectPacket>(bytes);
    RC_ASSERT(d.client_id == c.client_id && d.clean_session == c.clean_session &&
              d.keep_alive_s == c.keep_alive_s);
    RC_ASSERT(d.will.has_value() == c.will.has_value() && d.username == c.username &&
              d.password == c.password);
    if (c.will) RC_ASSERT(d.will->topic == topic && d.will->payload == payload && d.will->qos == c.will->qos);
  }));
}

TEST(MqttRoundTrip, SubscribeAndUnsubscribe) {
  EXPECT_TRUE(rc::check([] {
    const auto filters = *rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(topic_text()));
    SubscribePacket s;
    UnsubscribePacket u;
    s.packet_id = u.packet_id = static_cast<std::uint16_t>(*rc::gen::inRange(1, 65'536));
    for (const auto& filter : filters) {
      s.requests.push_back({filter, static_cast<Qos>(*rc::gen::inRange(0, 3))});
      u.filters.push_back(filter);
    }
    std::string bytes;
    append_subscribe(bytes, s);
    const auto t = decoded<SubscribePacket>(bytes);
    RC_ASSERT(t.packet_id == s.packet_id && t.requests.size() == s.requests.size());
    for (std::size_t i = 0; i < filters.size(); ++i) {
      RC_ASSERT(t.requests[i].filter == filters[i] && t.requests[i].qos == s.requests[i].qos);
    }
    bytes.clear();
    append_unsubscribe(bytes, u);
    RC_ASSERT(decoded<UnsubscribePacket>(bytes).filters == u.filters);
  }));
}

TEST(MqttRoundTrip, SmallPackets) {
  for (const auto type : {PacketType::kPuback, PacketType::kPubrec, PacketType::kPubrel, PacketType::kPubcomp,
                          PacketType::kUnsuback}) {
    std::string bytes;
    append_acknowledgement(bytes, type, 0xABCD);
    const auto frame = next_frame(bytes, 4);
    ASSERT_EQ(frame.status, Frame::Status::kComplete);
    EXPECT_EQ(frame.type, type);
    std::uint16_t id = 0;
    EXPECT_EQ(decode_packet_id(frame, id), Violation::kNone);
    EXPECT_EQ(id, 0xABCD);
  }
  for (const auto type : {PacketType::kPingreq, PacketType::kPingresp, PacketType::kDisconnect}) {
    std::string bytes;
    append_empty(bytes, type);
    const auto frame = next_frame(bytes, 2);
    ASSERT_EQ(frame.status, Frame::Status::kComplete);
    EXPECT_EQ(frame.type, type);
    EXPECT_EQ(decode_empty(frame), Violation::kNone);
  }
  std::string bytes;
  append_connack(bytes, {true, ConnectCode::kAccepted});
  EXPECT_EQ(bytes, std::string("\x20\x02\x01\x00", 4));
  bytes.clear();
  const std::uint8_t codes[] = {0, 1, 2, kSubscribeRefused};
  append_suback(bytes, 9, codes);
  EXPECT_EQ(bytes, std::string("\x90\x06\x00\x09\x00\x01\x02\x80", 8));
}

// Whatever bytes arrive: a verdict, no crash, and never a frame that reaches past them.
TEST(MqttRoundTrip, ArbitraryBytesGetAVerdict) {
  EXPECT_TRUE(rc::check([] {
    const auto bytes = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
    const auto frame = next_frame(bytes, kMaxPacketBytes);
    if (frame.status == Frame::Status::kComplete) RC_ASSERT(frame.raw.size() <= bytes.size());
  }));
}

}  // namespace
}  // namespace decklog::mqtt
