#include "services/hub/telemetry_in.hpp"

#include "services/hub/head_limits.hpp"

namespace decklog::hub {

Result<Ingest> telemetry_of(const Identity& sender, const iothub::TelemetryTopic& topic,
                            const mqtt::PublishPacket& packet, bool will) {
  if (packet.payload.size() > kMaxTelemetryBytes) return error(Errc::kTooLarge, "body larger than 256 KiB");
  auto bag = iothub::decode_bag(topic.bag);
  if (!bag) return bag.error();
  Ingest message;
  message.sender = sender;
  message.body = packet.payload;
  for (auto& [name, value] : *bag) {
    if (name == "$.on") {
      message.output = std::move(value);
    } else if (name != "$.cdid" && name != "$.cmid") {
      message.properties.emplace_back(std::move(name), std::move(value));
    }
  }
  if (packet.retain) message.properties.emplace_back("mqtt-retain", "true");
  if (will) message.properties.emplace_back("iothub-MessageType", "Will");
  // It must fit into a topic again, where more is escaped than some clients do.
  if (iothub::encode_bag(message.properties).size() > kMaxBagOutBytes)
    return error(Errc::kTooLarge, "properties larger than a topic");
  return message;
}

std::string topic_of_input(const Identity& receiver, std::string_view input, const Ingest& message) {
  Properties properties = message.properties;
  properties.emplace_back("$.cdid", message.sender.device);
  if (!message.sender.module.empty()) properties.emplace_back("$.cmid", message.sender.module);
  return iothub::input_topic({receiver.device, receiver.module}, input, properties);
}

}  // namespace decklog::hub
