#include "services/iothub/topics.hpp"

#include <charconv>

namespace decklog::iothub {
namespace {

// Takes the part up to the next '/'.
std::string_view take_segment(std::string_view& rest) {
  const auto slash = rest.find('/');
  const auto segment = rest.substr(0, slash);
  rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  return segment;
}

bool take_prefix(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

// "?$rid=abc&$version=3"; the value byte for byte.
std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  if (query.starts_with('?')) query.remove_prefix(1);
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const auto equal = pair.find('=');
    std::string_view key = pair.substr(0, equal);
    const auto decoded = percent_decode(key);
    if (equal != std::string_view::npos && decoded && *decoded == name)
      return std::string(pair.substr(equal + 1));
  }
  return std::nullopt;
}

PublishTopic parse_iothub(std::string_view rest) {
  if (take_prefix(rest, "twin/GET/")) {
    const auto rid = query_value(rest, "$rid");
    if (!rid) return MalformedTopic{"twin GET without $rid"};
    return TwinGetTopic{*rid};
  }
  if (take_prefix(rest, "twin/PATCH/properties/reported/")) {
    const auto rid = query_value(rest, "$rid");
    if (!rid) return MalformedTopic{"twin PATCH without $rid"};
    return TwinPatchTopic{*rid};
  }
  if (take_prefix(rest, "methods/res/")) {
    const auto text = take_segment(rest);
    const auto rid = query_value(rest, "$rid");
    if (!rid) return MalformedTopic{"method response without $rid"};
    int status = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), status);
    if (failed != std::errc{} || end != text.data() + text.size()) return MethodResponseTopic{{}, *rid};
    return MethodResponseTopic{status, *rid};
  }
  return MalformedTopic{"unknown $iothub topic"};
}

PublishTopic parse_devices(std::string_view rest) {
  TelemetryTopic topic;
  topic.client.device = take_segment(rest);
  if (take_prefix(rest, "modules/")) {
    topic.client.module = take_segment(rest);
    if (topic.client.module.empty()) return MalformedTopic{"module without a name"};
  }
  if (rest == "messages/events") return topic;
  if (!take_prefix(rest, "messages/events/")) return MalformedTopic{"unknown devices topic"};
  topic.bag = rest;
  return topic;
}

}  // namespace

PublishTopic parse_publish_topic(std::string_view topic) {
  if (take_prefix(topic, "$iothub/")) return parse_iothub(topic);
  if (take_prefix(topic, "devices/")) return parse_devices(topic);
  return OtherTopic{};
}

FilterKind parse_filter(std::string_view filter, const ClientName& client) {
  if (filter == "$iothub/twin/res/#") return FilterKind::kTwinResponses;
  if (filter == "$iothub/twin/PATCH/properties/desired/#") return FilterKind::kDesired;
  if (filter == "$iothub/methods/POST/#") return FilterKind::kMethods;
  if (filter.starts_with("$iothub/")) return FilterKind::kUnsupported;
  if (!filter.starts_with("devices/")) return FilterKind::kOther;
  const std::string device = "devices/" + client.device + "/";
  if (!filter.starts_with(device)) return FilterKind::kForeign;
  auto rest = filter.substr(device.size());
  if (rest == "messages/devicebound/#" && client.module.empty()) return FilterKind::kCloudToDevice;
  if (take_prefix(rest, "modules/")) {
    const auto module = take_segment(rest);
    if (module.empty() || module != client.module) return FilterKind::kForeign;
    if (rest == "#" || rest == "inputs/#" || rest.starts_with("inputs/")) return FilterKind::kInputs;
  }
  return FilterKind::kUnsupported;
}

std::string twin_response_topic(int status, std::string_view rid, std::optional<std::uint64_t> version) {
  std::string topic = "$iothub/twin/res/" + std::to_string(status) + "/?$rid=" + std::string(rid);
  if (version) topic += "&$version=" + std::to_string(*version);
  return topic;
}

std::string desired_topic(std::uint64_t version) {
  return "$iothub/twin/PATCH/properties/desired/?$version=" + std::to_string(version);
}

std::string method_topic(std::string_view name, std::string_view rid) {
  return "$iothub/methods/POST/" + std::string(name) + "/?$rid=" + std::string(rid);
}

std::string input_topic(const ClientName& client, std::string_view input, const Properties& properties) {
  return "devices/" + client.device + "/modules/" + client.module + "/inputs/" + std::string(input) + "/" +
         encode_bag(properties);
}

std::string cloud_to_device_topic(const ClientName& client, const Properties& properties) {
  return "devices/" + client.device + "/messages/devicebound/" + encode_bag(properties);
}

}  // namespace decklog::iothub
