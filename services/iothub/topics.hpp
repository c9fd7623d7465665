// IoT Hub's MQTT topics, read and built. Pure. A topic that is not one of them parses to Other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "services/iothub/property_bag.hpp"

namespace decklog::iothub {

struct ClientName {
  std::string device, module;  // module "" = a device
  friend bool operator==(const ClientName&, const ClientName&) = default;
  std::string client_id() const { return module.empty() ? device : device + "/" + module; }
};

// ---- client to hub
// -----------------------------------------------------------------------------------------------
struct TelemetryTopic {
  ClientName client;
  std::string bag;  // undecoded
};
struct TwinGetTopic {
  std::string rid;
};
struct TwinPatchTopic {
  std::string rid;
};
struct MethodResponseTopic {
  std::optional<int> status;  // none = what stands there is not a whole number
  std::string rid;
};
struct MalformedTopic {  // within IoT Hub's namespace, and not right
  std::string why;
};
struct OtherTopic {};

using PublishTopic = std::variant<OtherTopic, TelemetryTopic, TwinGetTopic, TwinPatchTopic,
                                  MethodResponseTopic, MalformedTopic>;
PublishTopic parse_publish_topic(std::string_view topic);

// ---- filters
// -----------------------------------------------------------------------------------------------------
enum class FilterKind : std::uint8_t {
  kOther = 0,
  kTwinResponses,
  kDesired,
  kMethods,
  kInputs,
  kCloudToDevice,
  kForeign,
  kUnsupported
};
// kForeign: another identity's namespace. kUnsupported: IoT Hub's namespace, and nothing will ever come
// there.
FilterKind parse_filter(std::string_view filter, const ClientName& client);

// ---- hub to client
// -----------------------------------------------------------------------------------------------
std::string twin_response_topic(int status, std::string_view rid,
                                std::optional<std::uint64_t> version = std::nullopt);
std::string desired_topic(std::uint64_t version);
std::string method_topic(std::string_view name, std::string_view rid);
// The slash behind the input's name is needed even without properties.
std::string input_topic(const ClientName& client, std::string_view input, const Properties& properties);
std::string cloud_to_device_topic(const ClientName& client, const Properties& properties);

}  // namespace decklog::iothub
