// Packets to bytes, appended to an output buffer; nothing is sent here. Strings longer than 65,535 bytes and
// packets beyond the protocol's bound are a bug of the caller (asserted), since all of ours are checked on
// entry. Pure; thread: any; allocates only when the buffer has to grow.
#pragma once

#include <span>
#include <string>

#include "services/mqtt/packet.hpp"

namespace decklog::mqtt {

void append_connect(std::string& out, const ConnectPacket& packet);
void append_connack(std::string& out, const ConnackPacket& packet);
void append_publish(std::string& out, const PublishPacket& packet);
void append_subscribe(std::string& out, const SubscribePacket& packet);
void append_suback(std::string& out, std::uint16_t packet_id, std::span<const std::uint8_t> codes);
void append_unsubscribe(std::string& out, const UnsubscribePacket& packet);
// PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK.
void append_acknowledgement(std::string& out, PacketType type, std::uint16_t packet_id);
// PINGREQ, PINGRESP, DISCONNECT.
void append_empty(std::string& out, PacketType type);

// Bytes append_publish() adds.
std::size_t publish_bytes(const PublishPacket& packet);

}  // namespace decklog::mqtt
