// Any bytes as a topic and as a filter. A filter that is granted as a client's own must not select what is
// another's; a topic's parts must stand in the topic byte for byte.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/iothub/topics.hpp"
#include "services/mqtt/text.hpp"

namespace {

using namespace decklog::iothub;

void must(bool holds) {
  if (!holds) std::abort();
}

struct Check {
  std::string_view topic;

  void contains(std::string_view part) const { must(topic.find(part) != std::string_view::npos); }
  void operator()(const OtherTopic&) const {
    must(!topic.starts_with("$iothub/") && !topic.starts_with("devices/"));
  }
  void operator()(const TelemetryTopic& telemetry) const {
    std::string start = "devices/" + telemetry.client.device;
    if (!telemetry.client.module.empty()) start += "/modules/" + telemetry.client.module;
    must(telemetry.client.device.find('/') == std::string::npos);
    must(topic.ends_with(telemetry.bag));
    must(topic.starts_with(start + "/messages/events"));
  }
  void operator()(const TwinGetTopic& get) const { contains("=" + get.rid); }
  void operator()(const TwinPatchTopic& patch) const { contains("=" + patch.rid); }
  void operator()(const MethodResponseTopic& response) const {
    if (response.status) contains(std::to_string(*response.status));
    contains("=" + response.rid);
  }
  void operator()(const MalformedTopic& wrong) const { must(!wrong.why.empty()); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::visit(Check{text}, parse_publish_topic(text));
  if (!decklog::mqtt::valid_topic_filter(text)) return 0;
  const ClientName clients[] = {{"edge-1", ""}, {"edge-1", "sensor"}, {"edge-2", "sensor"}};
  for (const auto& client : clients) {
    const FilterKind kind = parse_filter(text, client);
    if (kind != FilterKind::kInputs && kind != FilterKind::kCloudToDevice) continue;
    for (const auto& other : clients) {
      if (other == client) continue;
      must(!decklog::mqtt::filter_matches(text, input_topic(other, "in", {{"a", "b"}})));
      if (other.device != client.device)
        must(!decklog::mqtt::filter_matches(text, cloud_to_device_topic(other, {})));
    }
  }
  return 0;
}
