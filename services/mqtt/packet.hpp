// The 14 control packets of MQTT 3.1.1 as views over the bytes they were read from, and the ways a peer can
// break the standard. A view is valid only while the receive buffer is neither moved nor overwritten. Source:
// OASIS MQTT 3.1.1; numbers in brackets are its normative statements.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace decklog::mqtt {

enum class PacketType : std::uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kPubrec = 5,
  kPubrel = 6,
  kPubcomp = 7,
  kSubscribe = 8,
  kSuback = 9,
  kUnsubscribe = 10,
  kUnsuback = 11,
  kPingreq = 12,
  kPingresp = 13,
  kDisconnect = 14,
};

enum class Qos : std::uint8_t { kAtMostOnce = 0, kAtLeastOnce = 1, kExactlyOnce = 2 };
inline constexpr std::uint8_t kSubscribeRefused = 0x80;

// CONNACK return codes, table 3.1.
enum class ConnectCode : std::uint8_t {
  kAccepted = 0,
  kUnacceptableProtocol = 1,
  kIdentifierRejected = 2,
  kServerUnavailable = 3,
  kBadCredentials = 4,
  kNotAuthorized = 5,
};

// Why a packet is refused. kNone = it is not. The names appear in logs and metrics: append only.
enum class Violation : std::uint8_t {
  kNone = 0,
  kPacketType,       // type 0 or 15, or one that only the other side may send [2.2.1]
  kFixedFlags,       // reserved flag bits not as required [MQTT-2.2.2-2]
  kRemainingLength,  // more than four length bytes [2.2.3]
  kTooLarge,         // above the configured packet bound
  kTruncated,        // a field reaches past the end of the packet
  kTrailingBytes,    // bytes left over after the last field
  kUtf8,             // [MQTT-1.5.3-1, 1.5.3-2]
  kPacketId,         // packet identifier 0 [MQTT-2.3.1-1]
  kQos,              // QoS 3 [MQTT-3.3.1-4]
  kDupAtQos0,        // [MQTT-3.3.1-2]
  kTopicName,        // empty or with a wildcard [MQTT-3.3.2-2, 4.7.3-1]
  kTopicFilter,      // [MQTT-4.7.1-2, 4.7.1-3]
  kEmptyPayload,     // SUBSCRIBE or UNSUBSCRIBE without a filter [MQTT-3.8.3-3, 3.10.3-2]
  kProtocolName,     // [MQTT-3.1.2-1]
  kProtocolLevel,    // answered with CONNACK 1 [MQTT-3.1.2-2]
  kConnectFlags,  // reserved bit, will or password flags that contradict each other [MQTT-3.1.2-3, -11..-15,
                  // -22]
  kClientIdNeedsClean,  // empty client id with clean session 0, CONNACK 2 [MQTT-3.1.3-8]
  kNotConnectFirst,     // [MQTT-3.1.0-1]
  kSecondConnect,       // [MQTT-3.1.0-2]
  kReturnCode,          // CONNACK or SUBACK code the standard does not know
};

const char* describe(Violation violation);

struct WillView final {
  std::string_view topic;
  std::string_view payload;
  Qos qos = Qos::kAtMostOnce;
  bool retain = false;
};

struct ConnectPacket final {
  std::string_view client_id;
  bool clean_session = true;
  std::uint16_t keep_alive_s = 0;
  std::optional<WillView> will;
  std::optional<std::string_view> username;
  std::optional<std::string_view> password;
};

struct ConnackPacket final {
  bool session_present = false;
  ConnectCode code = ConnectCode::kAccepted;
};

struct PublishPacket final {
  std::string_view topic;
  std::string_view payload;
  std::uint16_t packet_id = 0;  // 0 at QoS 0
  Qos qos = Qos::kAtMostOnce;
  bool retain = false;
  bool duplicate = false;
};

struct SubscriptionRequest final {
  std::string_view filter;
  Qos qos = Qos::kAtMostOnce;
};

struct SubscribePacket final {
  std::uint16_t packet_id = 0;
  std::vector<SubscriptionRequest> requests;
};

struct UnsubscribePacket final {
  std::uint16_t packet_id = 0;
  std::vector<std::string_view> filters;
};

struct SubackPacket final {
  std::uint16_t packet_id = 0;
  std::string_view codes;  // one byte a filter: 0, 1, 2 or 0x80
};

}  // namespace decklog::mqtt
