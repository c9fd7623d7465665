#include "services/mqtt/message.hpp"

#include "events/result.hpp"
#include "services/mqtt/text.hpp"

namespace decklog::mqtt {

Message::Message(std::string_view topic, std::string_view payload, Qos qos)
    : topic_bytes_(static_cast<std::uint16_t>(topic.size())), qos_(qos) {
  DECKLOG_ASSERT(topic.size() <= kMaxStringBytes);
  bytes_.reserve(topic.size() + payload.size());
  bytes_.append(topic).append(payload);
}

}  // namespace decklog::mqtt
