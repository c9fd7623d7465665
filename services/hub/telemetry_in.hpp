// A PUBLISH on a telemetry topic as the message it means. Private to services/hub. Pure.
#pragma once

#include "events/result.hpp"
#include "services/hub/parts.hpp"
#include "services/iothub/topics.hpp"
#include "services/mqtt/packet.hpp"

namespace decklog::hub {

// `will`: the client is gone and this is its last word. kMalformed: the property bag; kTooLarge: body, bag.
// Who the sender is says the connection, not the bag: "$.cdid" and "$.cmid" in it are left out.
Result<Ingest> telemetry_of(const Identity& sender, const iothub::TelemetryTopic& topic,
                            const mqtt::PublishPacket& packet, bool will);

// The topic an input's message is delivered on: the sender's properties, and who it was.
std::string topic_of_input(const Identity& receiver, std::string_view input, const Ingest& message);

}  // namespace decklog::hub
