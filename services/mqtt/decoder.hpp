// Bytes to packets, without a copy. Two steps: next_frame() finds where the next packet ends, decode() reads
// its fields. Everything malformed is named by a Violation; after one, nothing more may be read from that
// peer. Pure; thread: any; bound: `max_packet_bytes` covers the whole packet, header included.
#pragma once

#include "services/mqtt/packet.hpp"

namespace decklog::mqtt {

// The protocol's own bound: five header bytes and 268,435,455 more.
inline constexpr std::uint32_t kMaxPacketBytes = 268'435'460;

struct Frame final {
  enum class Status : std::uint8_t { kComplete, kNeedMore, kMalformed };
  Status status = Status::kNeedMore;
  Violation violation = Violation::kNone;  // kMalformed: why
  PacketType type = PacketType::kConnect;  // kComplete
  std::uint8_t flags = 0;                  // kComplete: low four bits of the first byte
  std::string_view body;                   // kComplete: after the fixed header
  std::string_view raw;                    // kComplete: the whole packet
  // kNeedMore: bytes of the whole packet once its length is known, else 0.
  std::uint32_t expected_bytes = 0;
};

// Looks at the start of `bytes`. Type and reserved flags are checked as soon as the first byte is there, so
// that garbage is refused before its "length" is waited for.
Frame next_frame(std::string_view bytes, std::uint32_t max_packet_bytes);

// The frame must be kComplete and of the packet's type.
Violation decode(const Frame& frame, ConnectPacket& packet);
Violation decode(const Frame& frame, ConnackPacket& packet);
Violation decode(const Frame& frame, PublishPacket& packet);
Violation decode(const Frame& frame, SubscribePacket& packet);
Violation decode(const Frame& frame, SubackPacket& packet);
Violation decode(const Frame& frame, UnsubscribePacket& packet);
// PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK.
Violation decode_packet_id(const Frame& frame, std::uint16_t& packet_id);
// PINGREQ, PINGRESP, DISCONNECT.
Violation decode_empty(const Frame& frame);

}  // namespace decklog::mqtt
