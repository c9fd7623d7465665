// Any bytes a peer may send: frames, every decoder, and what decodes must encode to something that decodes
// the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/mqtt/decoder.hpp"
#include "services/mqtt/encoder.hpp"
#include "services/mqtt/text.hpp"

namespace {

using namespace decklog::mqtt;

void must(bool holds) {
  if (!holds) std::abort();
}

constexpr std::uint32_t kLimit = 1u << 20;

void publish(const Frame& frame) {
  PublishPacket packet;
  if (decode(frame, packet) != Violation::kNone) return;
  must(valid_utf8(packet.topic) && valid_topic_name(packet.topic));
  must((packet.qos == Qos::kAtMostOnce) == (packet.packet_id == 0));
  std::string bytes;
  append_publish(bytes, packet);
  must(bytes.size() == publish_bytes(packet));
  PublishPacket again;
  must(decode(next_frame(bytes, kMaxPacketBytes), again) == Violation::kNone);
  must(again.topic == packet.topic && again.payload == packet.payload && again.packet_id == packet.packet_id);
}

void connect(const Frame& frame) {
  ConnectPacket packet;
  if (decode(frame, packet) != Violation::kNone) return;
  must(!packet.client_id.empty() || packet.clean_session);
  must(packet.username.has_value() || !packet.password.has_value());
  std::string bytes;
  append_connect(bytes, packet);
  ConnectPacket again;
  must(decode(next_frame(bytes, kMaxPacketBytes), again) == Violation::kNone);
  must(again.client_id == packet.client_id && again.username == packet.username &&
       again.password == packet.password);
}

void subscriptions(const Frame& frame) {
  SubscribePacket subscribe;
  if (frame.type == PacketType::kSubscribe && decode(frame, subscribe) == Violation::kNone) {
    must(!subscribe.requests.empty());
    for (const auto& request : subscribe.requests) must(valid_topic_filter(request.filter));
  }
  UnsubscribePacket unsubscribe;
  if (frame.type == PacketType::kUnsubscribe && decode(frame, unsubscribe) == Violation::kNone) {
    must(!unsubscribe.filters.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (true) {
    const auto frame = next_frame(rest, kLimit);
    if (frame.status != Frame::Status::kComplete) return 0;
    must(frame.raw.size() >= 2 && frame.raw.size() <= rest.size());
    std::uint16_t id = 0;
    switch (frame.type) {
      case PacketType::kPublish:
        publish(frame);
        break;
      case PacketType::kConnect:
        connect(frame);
        break;
      case PacketType::kSubscribe:
      case PacketType::kUnsubscribe:
        subscriptions(frame);
        break;
      case PacketType::kConnack: {
        ConnackPacket packet;
        (void)decode(frame, packet);
        break;
      }
      case PacketType::kSuback: {
        SubackPacket packet;
        (void)decode(frame, packet);
        break;
      }
      default:
        (void)decode_packet_id(frame, id);
        (void)decode_empty(frame);
    }
    rest.remove_prefix(frame.raw.size());
  }
}
