#include "services/mqtt/encoder.hpp"

#include <cstring>

#include "events/result.hpp"
#include "services/mqtt/decoder.hpp"
#include "services/mqtt/text.hpp"

namespace decklog::mqtt {
namespace {

constexpr std::size_t kMaxRemaining = 268'435'455;

std::size_t length_bytes(std::size_t remaining) {
  return remaining < 128 ? 1 : remaining < 16'384 ? 2 : remaining < 2'097'152 ? 3 : 4;
}

void put_u8(std::string& out, unsigned value) {
  out.push_back(static_cast<char>(value));
}

void put_u16(std::string& out, std::uint16_t value) {
  put_u8(out, value >> 8);
  put_u8(out, value & 0xFFu);
}

void put_text(std::string& out, std::string_view text) {
  DECKLOG_ASSERT(text.size() <= kMaxStringBytes);
  put_u16(out, static_cast<std::uint16_t>(text.size()));
  out.append(text);
}

void put_header(std::string& out, PacketType type, unsigned flags, std::size_t remaining) {
  DECKLOG_ASSERT(remaining <= kMaxRemaining);
  put_u8(out, static_cast<unsigned>(type) << 4 | flags);
  do {
    const auto low = static_cast<unsigned>(remaining & 0x7F);
    remaining >>= 7;
    put_u8(out, remaining > 0 ? low | 0x80 : low);
  } while (remaining > 0);
}

std::size_t publish_remaining(const PublishPacket& packet) {
  return 2 + packet.topic.size() + (packet.qos == Qos::kAtMostOnce ? 0 : 2) + packet.payload.size();
}

}  // namespace

void append_connect(std::string& out, const ConnectPacket& packet) {
  std::size_t remaining = 10 + 2 + packet.client_id.size();
  unsigned flags = packet.clean_session ? 0x02 : 0;
  if (packet.will) {
    remaining += 4 + packet.will->topic.size() + packet.will->payload.size();
    flags |= 0x04u | static_cast<unsigned>(packet.will->qos) << 3 | (packet.will->retain ? 0x20u : 0u);
  }
  if (packet.username) {
    remaining += 2 + packet.username->size();
    flags |= 0x80;
  }
  if (packet.password) {
    remaining += 2 + packet.password->size();
    flags |= 0x40;
  }
  put_header(out, PacketType::kConnect, 0, remaining);
  put_text(out, "MQTT");
  put_u8(out, 4);
  put_u8(out, flags);
  put_u16(out, packet.keep_alive_s);
  put_text(out, packet.client_id);
  if (packet.will) {
    put_text(out, packet.will->topic);
    put_text(out, packet.will->payload);
  }
  if (packet.username) put_text(out, *packet.username);
  if (packet.password) put_text(out, *packet.password);
}

void append_connack(std::string& out, const ConnackPacket& packet) {
  put_header(out, PacketType::kConnack, 0, 2);
  put_u8(out, packet.session_present ? 1 : 0);
  put_u8(out, static_cast<unsigned>(packet.code));
}

// The hot path of a fan-out: one resize, then plain stores.
void append_publish(std::string& out, const PublishPacket& packet) {
  DECKLOG_ASSERT(packet.topic.size() <= kMaxStringBytes);
  const unsigned flags =
      (packet.duplicate ? 0x08u : 0u) | static_cast<unsigned>(packet.qos) << 1 | (packet.retain ? 0x01u : 0u);
  put_header(out, PacketType::kPublish, flags, publish_remaining(packet));
  put_text(out, packet.topic);
  if (packet.qos != Qos::kAtMostOnce) put_u16(out, packet.packet_id);
  out.append(packet.payload);
}

void append_subscribe(std::string& out, const SubscribePacket& packet) {
  std::size_t remaining = 2;
  for (const auto& request : packet.requests) remaining += 3 + request.filter.size();
  put_header(out, PacketType::kSubscribe, 0x02, remaining);
  put_u16(out, packet.packet_id);
  for (const auto& request : packet.requests) {
    put_text(out, request.filter);
    put_u8(out, static_cast<unsigned>(request.qos));
  }
}

void append_suback(std::string& out, std::uint16_t packet_id, std::span<const std::uint8_t> codes) {
  put_header(out, PacketType::kSuback, 0, 2 + codes.size());
  put_u16(out, packet_id);
  for (const auto code : codes) put_u8(out, code);
}

void append_unsubscribe(std::string& out, const UnsubscribePacket& packet) {
  std::size_t remaining = 2;
  for (const auto& filter : packet.filters) remaining += 2 + filter.size();
  put_header(out, PacketType::kUnsubscribe, 0x02, remaining);
  put_u16(out, packet.packet_id);
  for (const auto& filter : packet.filters) put_text(out, filter);
}

void append_acknowledgement(std::string& out, PacketType type, std::uint16_t packet_id) {
  const char bytes[4] = {
      static_cast<char>(static_cast<unsigned>(type) << 4 | (type == PacketType::kPubrel ? 2u : 0u)), 2,
      static_cast<char>(packet_id >> 8), static_cast<char>(packet_id & 0xFF)};
  out.append(bytes, sizeof bytes);
}

void append_empty(std::string& out, PacketType type) {
  put_header(out, type, 0, 0);
}

std::size_t publish_bytes(const PublishPacket& packet) {
  const auto remaining = publish_remaining(packet);
  return 1 + length_bytes(remaining) + remaining;
}

}  // namespace decklog::mqtt
