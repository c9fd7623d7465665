// Names of the fleet's objects: subjects, keys, file names, message ids. Pure.
//
// A token holds A-Z a-z 0-9 - _ as they are and every other byte as =XX; a leading underscore is escaped too,
// so that the tokens with a meaning of their own (`_agent`, `_hub`, `_device`, `_`) can never be an id.
// Escaping is one to one: two different ids never share a token. The same tokens are the file names of the
// local uplink.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

inline constexpr std::size_t kMaxIdBytes = 128;  // IoT Hub's own limit for device and module ids

inline constexpr const char* kTwinsBucket = "decklog_twins";
inline constexpr const char* kIdentitiesBucket = "decklog_identities";
inline constexpr const char* kTwinsStream = "KV_decklog_twins";
inline constexpr const char* kIdentitiesStream = "KV_decklog_identities";
inline constexpr const char* kTelemetryStream = "DECKLOG_TELEMETRY";
inline constexpr const char* kEventsStream = "DECKLOG_EVENTS";
inline constexpr const char* kCloudStream = "DECKLOG_C2D";

enum class TwinPart : std::uint8_t { kDesired = 1, kReported = 2 };

std::string escape_token(std::string_view id);
Result<std::string> unescape_token(std::string_view token);

// "" <-> _device, $edgeAgent <-> _agent, $edgeHub <-> _hub, else the escaped name.
std::string module_token(std::string_view module);
Result<std::string> module_of(std::string_view token);

// kInvalidArgument for an empty or overlong device or module id.
Status check_key(const TwinKey& key);

std::string twin_subject(const TwinKey& key, TwinPart part);  // $KV.decklog_twins.<device>.<module>.desired
std::string desired_filter(std::string_view device);          // every module's desired document of a device
Result<TwinKey> key_of_twin_subject(std::string_view subject);
std::string identity_subject(const TwinKey& key);  // the device's own record has no module token
Result<TwinKey> key_of_identity_subject(std::string_view subject);

std::string telemetry_subject(const Telemetry& message);
std::string events_subject(std::string_view device, std::string_view service);
std::string cloud_subject(std::string_view device);
std::string method_filter(const TwinKey& key);  // decklog.method.<device>.<module>.*
std::string method_subject(const TwinKey& key, std::string_view method);

// <sender>/<epoch>/<sequence>: the edge device that sends, not the leaf it sends for; ids may hold any byte.
std::string telemetry_id(std::string_view sender, std::uint64_t epoch, std::uint64_t sequence);
// With the service, as agent and hub have a journal, hence an epoch, each:
// <sender>/<service>/<epoch>/<sequence>.
std::string event_id(std::string_view sender, const Uplink::MirroredEvent& event);

// RFC 3986 percent encoding of one property name or value.
std::string percent_encode(std::string_view text);
Result<std::string> percent_decode(std::string_view text);

// The subjects a device's credentials need, and no others: for nats-server accounts and `decklog fleet
// permissions`.
struct Permissions {
  std::vector<std::string> publish;
  std::vector<std::string> subscribe;
};
Permissions device_permissions(std::string_view device);
// Prefix under which a device receives replies: its own, so that it cannot read another's.
std::string inbox_prefix(std::string_view device);

}  // namespace decklog::uplink
