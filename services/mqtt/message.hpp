// An application message on its way to sessions: immutable and shared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "services/mqtt/packet.hpp"

namespace decklog::mqtt {

class Message;
using MessagePtr = std::shared_ptr<const Message>;

class Message final {
 public:
  Message(std::string_view topic, std::string_view payload, Qos qos);
  static MessagePtr make(std::string_view topic, std::string_view payload, Qos qos) {
    return std::make_shared<const Message>(topic, payload, qos);
  }

  std::string_view topic() const { return std::string_view(bytes_).substr(0, topic_bytes_); }
  std::string_view payload() const { return std::string_view(bytes_).substr(topic_bytes_); }
  Qos qos() const { return qos_; }  // as published
  std::size_t memory_bytes() const { return sizeof(Message) + bytes_.size(); }

 private:
  std::string bytes_;  // topic, then payload
  std::uint16_t topic_bytes_ = 0;
  Qos qos_ = Qos::kAtMostOnce;
};

}  // namespace decklog::mqtt
