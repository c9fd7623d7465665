// The last retained message of each topic (3.3.1.3). A lookup by filter walks only the topics that share the
// filter's text before its first wildcard. Owner: the broker engine; one thread.
// Limits: `max_messages` and `max_bytes`; a message beyond them is not kept and the caller is told.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "services/mqtt/message.hpp"

namespace decklog::mqtt {

class RetainedMessages final {
 public:
  struct Limits final {
    std::size_t max_messages = 100'000;
    std::size_t max_bytes = 64u << 20;
  };
  enum class Change : std::uint8_t { kStored, kErased, kNothing, kFull };

  explicit RetainedMessages(Limits limits) : limits_(limits) {}

  // An empty payload erases [MQTT-3.3.1-10, 3.3.1-11].
  Change put(const MessagePtr& message);
  // In topic order, from the first topic behind `after`, looking at `most` topics at most; `after` becomes
  // the last one done. Ends early when `visit` does not take a message. True when nothing is left.
  bool for_each(std::string_view filter, std::string& after, std::size_t most,
                const std::function<bool(const MessagePtr&)>& visit) const;

  std::size_t size() const { return messages_.size(); }
  std::size_t bytes() const { return bytes_; }

 private:
  Limits limits_;
  std::size_t bytes_ = 0;
  // The key views the topic inside its own message.
  std::map<std::string_view, MessagePtr> messages_;
};

}  // namespace decklog::mqtt
