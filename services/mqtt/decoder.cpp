#include "services/mqtt/decoder.hpp"

#include "services/mqtt/text.hpp"

namespace decklog::mqtt {
namespace {

// Reads fields off the front; once a field does not fit, every later read fails too.
class Reader final {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool u8(std::uint8_t& value) {
    if (rest_.empty()) return false;
    value = static_cast<std::uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return true;
  }
  bool u16(std::uint16_t& value) {
    if (rest_.size() < 2) return false;
    value = static_cast<std::uint16_t>(static_cast<std::uint8_t>(rest_[0]) << 8 |
                                       static_cast<std::uint8_t>(rest_[1]));
    rest_.remove_prefix(2);
    return true;
  }
  bool binary(std::string_view& value) {
    std::uint16_t size = 0;
    if (!u16(size) || rest_.size() < size) return false;
    value = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  Violation text(std::string_view& value) {
    if (!binary(value)) return Violation::kTruncated;
    return valid_utf8(value) ? Violation::kNone : Violation::kUtf8;
  }
  std::string_view rest() const { return rest_; }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

Violation check_first_byte(std::uint8_t first) {
  const auto type = first >> 4;
  const auto flags = first & 0x0F;
  if (type == 0 || type == 15) return Violation::kPacketType;
  if (type == static_cast<int>(PacketType::kPublish)) {
    if ((flags & 0x06) == 0x06) return Violation::kQos;
    return (flags & 0x0E) == 0x08 ? Violation::kDupAtQos0 : Violation::kNone;
  }
  const bool needs_two = type == static_cast<int>(PacketType::kPubrel) ||
                         type == static_cast<int>(PacketType::kSubscribe) ||
                         type == static_cast<int>(PacketType::kUnsubscribe);
  return flags == (needs_two ? 0x02 : 0x00) ? Violation::kNone : Violation::kFixedFlags;
}

Frame malformed(Violation violation) {
  Frame frame;
  frame.status = Frame::Status::kMalformed;
  frame.violation = violation;
  return frame;
}

Violation read_packet_id(Reader& reader, std::uint16_t& packet_id) {
  if (!reader.u16(packet_id)) return Violation::kTruncated;
  return packet_id == 0 ? Violation::kPacketId : Violation::kNone;
}

// Flags of byte 8 of CONNECT, 3.1.2.3.
struct ConnectFlags final {
  explicit ConnectFlags(std::uint8_t bits)
      : reserved(bits & 0x01),
        clean(bits & 0x02),
        will(bits & 0x04),
        will_qos(bits >> 3 & 0x03),
        will_retain(bits & 0x20),
        password(bits & 0x40),
        username(bits & 0x80) {}
  bool reserved, clean, will;
  std::uint8_t will_qos;
  bool will_retain, password, username;

  bool legal() const {
    if (reserved || will_qos == 3) return false;
    if (!will && (will_qos != 0 || will_retain)) return false;
    return username || !password;
  }
};

Violation read_will(Reader& reader, const ConnectFlags& flags, ConnectPacket& packet) {
  WillView will;
  if (const auto bad = reader.text(will.topic); bad != Violation::kNone) return bad;
  if (!valid_topic_name(will.topic)) return Violation::kTopicName;
  if (!reader.binary(will.payload)) return Violation::kTruncated;
  will.qos = static_cast<Qos>(flags.will_qos);
  will.retain = flags.will_retain;
  packet.will = will;
  return Violation::kNone;
}

Violation read_credentials(Reader& reader, const ConnectFlags& flags, ConnectPacket& packet) {
  if (flags.username) {
    std::string_view username;
    if (const auto bad = reader.text(username); bad != Violation::kNone) return bad;
    packet.username = username;
  }
  if (flags.password) {
    std::string_view password;
    if (!reader.binary(password)) return Violation::kTruncated;
    packet.password = password;
  }
  return Violation::kNone;
}

}  // namespace

Frame next_frame(std::string_view bytes, std::uint32_t max_packet_bytes) {
  if (bytes.empty()) return {};
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  if (const auto bad = check_first_byte(first); bad != Violation::kNone) return malformed(bad);
  std::uint32_t remaining = 0;
  std::size_t header = 1;
  for (int shift = 0;; shift += 7) {
    if (shift > 21) return malformed(Violation::kRemainingLength);
    if (header == bytes.size()) return {};
    const auto byte = static_cast<std::uint8_t>(bytes[header++]);
    remaining |= static_cast<std::uint32_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) break;
  }
  const auto total = static_cast<std::uint32_t>(header) + remaining;
  if (total > max_packet_bytes) return malformed(Violation::kTooLarge);
  Frame frame;
  if (bytes.size() < total) {
    frame.expected_bytes = total;
    return frame;
  }
  frame.status = Frame::Status::kComplete;
  frame.type = static_cast<PacketType>(first >> 4);
  frame.flags = first & 0x0F;
  frame.body = bytes.substr(header, remaining);
  frame.raw = bytes.substr(0, total);
  return frame;
}

Violation decode(const Frame& frame, ConnectPacket& packet) {
  Reader reader(frame.body);
  std::string_view name;
  if (const auto bad = reader.text(name); bad != Violation::kNone) return bad;
  std::uint8_t level = 0;
  if (!reader.u8(level)) return Violation::kTruncated;
  // MQTT 3.1 says "MQIsdp" level 3: a known protocol of a level not served here, told so by CONNACK 1.
  if (name == "MQIsdp" && level == 3) return Violation::kProtocolLevel;
  if (name != "MQTT") return Violation::kProtocolName;
  if (level != 4) return Violation::kProtocolLevel;
  std::uint8_t bits = 0;
  if (!reader.u8(bits)) return Violation::kTruncated;
  const ConnectFlags flags(bits);
  if (!flags.legal()) return Violation::kConnectFlags;
  packet.clean_session = flags.clean;
  if (!reader.u16(packet.keep_alive_s)) return Violation::kTruncated;
  if (const auto bad = reader.text(packet.client_id); bad != Violation::kNone) return bad;
  if (flags.will) {
    if (const auto bad = read_will(reader, flags, packet); bad != Violation::kNone) return bad;
  }
  if (const auto bad = read_credentials(reader, flags, packet); bad != Violation::kNone) return bad;
  if (!reader.done()) return Violation::kTrailingBytes;
  if (packet.client_id.empty() && !packet.clean_session) return Violation::kClientIdNeedsClean;
  return Violation::kNone;
}

Violation decode(const Frame& frame, ConnackPacket& packet) {
  Reader reader(frame.body);
  std::uint8_t flags = 0;
  std::uint8_t code = 0;
  if (!reader.u8(flags) || !reader.u8(code)) return Violation::kTruncated;
  if (!reader.done()) return Violation::kTrailingBytes;
  if ((flags & 0xFE) != 0) return Violation::kConnectFlags;
  if (code > static_cast<std::uint8_t>(ConnectCode::kNotAuthorized)) return Violation::kReturnCode;
  if (code != 0 && flags != 0) return Violation::kConnectFlags;
  packet.session_present = flags != 0;
  packet.code = static_cast<ConnectCode>(code);
  return Violation::kNone;
}

Violation decode(const Frame& frame, PublishPacket& packet) {
  packet.qos = static_cast<Qos>(frame.flags >> 1 & 0x03);
  packet.retain = (frame.flags & 0x01) != 0;
  packet.duplicate = (frame.flags & 0x08) != 0;
  packet.packet_id = 0;
  Reader reader(frame.body);
  if (const auto bad = reader.text(packet.topic); bad != Violation::kNone) return bad;
  if (!valid_topic_name(packet.topic)) return Violation::kTopicName;
  if (packet.qos != Qos::kAtMostOnce) {
    if (const auto bad = read_packet_id(reader, packet.packet_id); bad != Violation::kNone) return bad;
  }
  packet.payload = reader.rest();
  return Violation::kNone;
}

Violation decode(const Frame& frame, SubscribePacket& packet) {
  Reader reader(frame.body);
  if (const auto bad = read_packet_id(reader, packet.packet_id); bad != Violation::kNone) return bad;
  if (reader.done()) return Violation::kEmptyPayload;
  packet.requests.clear();
  while (!reader.done()) {
    SubscriptionRequest request;
    if (const auto bad = reader.text(request.filter); bad != Violation::kNone) return bad;
    if (!valid_topic_filter(request.filter)) return Violation::kTopicFilter;
    std::uint8_t qos = 0;
    if (!reader.u8(qos)) return Violation::kTruncated;
    if (qos > 2) return Violation::kQos;  // the reserved bits too [MQTT-3-8.3-4]
    request.qos = static_cast<Qos>(qos);
    packet.requests.push_back(request);
  }
  return Violation::kNone;
}

Violation decode(const Frame& frame, SubackPacket& packet) {
  Reader reader(frame.body);
  if (const auto bad = read_packet_id(reader, packet.packet_id); bad != Violation::kNone) return bad;
  packet.codes = reader.rest();
  if (packet.codes.empty()) return Violation::kEmptyPayload;
  for (const char code : packet.codes) {
    const auto value = static_cast<std::uint8_t>(code);
    if (value > 2 && value != kSubscribeRefused) return Violation::kReturnCode;
  }
  return Violation::kNone;
}

Violation decode(const Frame& frame, UnsubscribePacket& packet) {
  Reader reader(frame.body);
  if (const auto bad = read_packet_id(reader, packet.packet_id); bad != Violation::kNone) return bad;
  if (reader.done()) return Violation::kEmptyPayload;
  packet.filters.clear();
  while (!reader.done()) {
    std::string_view filter;
    if (const auto bad = reader.text(filter); bad != Violation::kNone) return bad;
    if (!valid_topic_filter(filter)) return Violation::kTopicFilter;
    packet.filters.push_back(filter);
  }
  return Violation::kNone;
}

Violation decode_packet_id(const Frame& frame, std::uint16_t& packet_id) {
  Reader reader(frame.body);
  if (const auto bad = read_packet_id(reader, packet_id); bad != Violation::kNone) return bad;
  return reader.done() ? Violation::kNone : Violation::kTrailingBytes;
}

Violation decode_empty(const Frame& frame) {
  return frame.body.empty() ? Violation::kNone : Violation::kTrailingBytes;
}

const char* describe(Violation violation) {
  switch (violation) {
    case Violation::kNone:
      return "none";
    case Violation::kPacketType:
      return "packet type not allowed";
    case Violation::kFixedFlags:
      return "reserved fixed header flags";
    case Violation::kRemainingLength:
      return "remaining length too long";
    case Violation::kTooLarge:
      return "packet too large";
    case Violation::kTruncated:
      return "field reaches past the packet";
    case Violation::kTrailingBytes:
      return "bytes after the last field";
    case Violation::kUtf8:
      return "ill-formed UTF-8";
    case Violation::kPacketId:
      return "packet identifier 0";
    case Violation::kQos:
      return "QoS not allowed";
    case Violation::kDupAtQos0:
      return "DUP at QoS 0";
    case Violation::kTopicName:
      return "topic name empty or with wildcard";
    case Violation::kTopicFilter:
      return "ill-formed topic filter";
    case Violation::kEmptyPayload:
      return "no topic filter";
    case Violation::kProtocolName:
      return "unknown protocol name";
    case Violation::kProtocolLevel:
      return "unsupported protocol level";
    case Violation::kConnectFlags:
      return "contradictory flags";
    case Violation::kClientIdNeedsClean:
      return "empty client id without clean session";
    case Violation::kNotConnectFirst:
      return "first packet is not CONNECT";
    case Violation::kSecondConnect:
      return "second CONNECT";
    case Violation::kReturnCode:
      return "unknown return code";
  }
  return "unknown";
}

}  // namespace decklog::mqtt
