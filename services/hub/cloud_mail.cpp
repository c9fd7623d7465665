#include "services/hub/cloud_mail.hpp"

#include "services/iothub/topics.hpp"

namespace decklog::hub {

using uplink::Settle;

void CloudMail::on_message(const uplink::CloudMessage& message) {
  if (count_ >= kMaxCloudMessages) return uplink_.settle(message.delivery_tag, Settle::kRetry);
  if (iothub::encode_bag(message.properties).size() > kMaxBagOutBytes) {
    remarks_.say("cloud-message", message.device, "refused: its properties do not fit into a topic");
    return uplink_.settle(message.delivery_tag, Settle::kReject);
  }
  ++count_;
  held_[message.device].push_back({message, surroundings_.now().mono + kCloudMessageHeld});
  drain(message.device);
}

void CloudMail::on_ready(const Identity& device) {
  if (device.module.empty()) drain(device.device);
}

void CloudMail::drain(const std::string& device) {
  const auto found = held_.find(device);
  if (found == held_.end()) return;
  auto& waiting = found->second;
  while (!waiting.empty()) {
    const auto& message = waiting.front().message;
    const std::uint64_t token = kTokenMark | next_++;
    sent_[token] = {device, message.delivery_tag, waiting.front().until};
    const std::string topic = iothub::cloud_to_device_topic({device, {}}, message.properties);
    if (!clients_.send(device, topic, message.body, mqtt::Qos::kAtLeastOnce, token)) {
      sent_.erase(token);
      return;
    }
    waiting.pop_front();
  }
  held_.erase(found);
}

void CloudMail::on_delivered(std::uint64_t token, bool acknowledged) {
  const auto found = sent_.find(token);
  if (found == sent_.end()) return;
  const Sent sent = found->second;
  sent_.erase(found);
  --count_;
  if (sent.tag != 0) uplink_.settle(sent.tag, acknowledged ? Settle::kAccept : Settle::kRetry);
  drain(sent.device);
}

// What is not settled on a link comes again on the next one.
void CloudMail::on_link(bool up) {
  if (up) return;
  for (const auto& [device, waiting] : held_) count_ -= waiting.size();
  held_.clear();
  for (auto& [token, sent] : sent_) sent.tag = 0;
}

void CloudMail::tick() {
  const MonoTime now = surroundings_.now().mono;
  for (auto at = held_.begin(); at != held_.end();) {
    auto& waiting = at->second;
    while (!waiting.empty() && waiting.front().until <= now) {
      uplink_.settle(waiting.front().message.delivery_tag, Settle::kRetry);
      waiting.pop_front();
      --count_;
    }
    at = waiting.empty() ? held_.erase(at) : std::next(at);
  }
  for (auto& [token, sent] : sent_) {
    if (sent.tag == 0 || sent.until > now) continue;
    uplink_.settle(std::exchange(sent.tag, 0), Settle::kRetry);
  }
}

}  // namespace decklog::hub
