#include "services/hub/cloud_mail.hpp"

#include <algorithm>

#include "services/iothub/topics.hpp"

namespace decklog::hub {

using uplink::Settle;

// Empty when the uplink has no name for it: such a one is a new message each time.
std::string CloudMail::name_of(const uplink::CloudMessage& message) {
  return message.id.empty() ? std::string() : message.device + '\n' + message.id;
}

CloudMail::SentAt CloudMail::find_copy(const std::string& name) {
  if (name.empty()) return sent_.end();
  return std::find_if(sent_.begin(), sent_.end(),
                      [&](const auto& entry) { return entry.second.name == name; });
}

bool CloudMail::past_its_time(const uplink::CloudMessage& message) const {
  for (const auto& [name, value] : message.properties) {
    if (name != "$.exp") continue;
    const auto expiry = parse_rfc3339(value);
    return expiry && *expiry <= surroundings_.now().wall;
  }
  return false;
}

bool CloudMail::tried_enough(const std::string& name) const {
  return tries_.count(name) >= kMaxCloudTries;
}

void CloudMail::reject(const std::string& device, std::uint64_t tag, const std::string& name,
                       const char* why) {
  remarks_.say("cloud-message", device, std::string("rejected: ") + why);
  if (tag == 0) return;  // when it comes again
  tries_.forget(name);
  uplink_.settle(tag, Settle::kReject);
}

bool CloudMail::take_back(SentAt sent) {
  if (!clients_.broker() || !clients_.broker()->withdraw(sent->second.device, sent->first)) return false;
  sent_.erase(sent);
  --count_;
  return true;
}

void CloudMail::on_message(const uplink::CloudMessage& message) {
  const MonoTime until = surroundings_.now().mono + kCloudMessageHeld;
  const std::string name = name_of(message);
  const auto give_up = [&](const char* why) { reject(message.device, message.delivery_tag, name, why); };
  if (acknowledged_.erase(name) > 0) return uplink_.settle(message.delivery_tag, Settle::kAccept);
  const bool late = past_its_time(message);
  if (const auto copy = find_copy(name); copy != sent_.end()) {
    if (late && take_back(copy)) return give_up("past its expiry");
    copy->second.tag = message.delivery_tag;
    copy->second.until = until;
    return;
  }
  if (late) return give_up("past its expiry");
  if (tried_enough(name)) return give_up("not acknowledged on ten connections");
  if (count_ >= kMaxCloudMessages) return uplink_.settle(message.delivery_tag, Settle::kRetry);
  if (iothub::encode_bag(message.properties).size() > kMaxBagOutBytes)
    return give_up("its properties do not fit into a topic");
  ++count_;
  held_[message.device].push_back({message, until});
  drain(message.device);
}

void CloudMail::on_ready(const Identity& device) {
  if (device.module.empty()) drain(device.device);
}

// What it had and did not acknowledge counts one try more, and leaves the session when that was the last.
void CloudMail::on_gone(const std::string& device) {
  for (auto at = sent_.begin(); at != sent_.end();) {
    const auto sent = at++;
    if (sent->second.device != device || sent->second.name.empty()) continue;
    tries_.add(sent->second.name);
    const auto copy = sent->second;
    if (tried_enough(copy.name) && take_back(sent))
      reject(device, copy.tag, copy.name, "not acknowledged on ten connections");
  }
}

void CloudMail::drain(const std::string& device) {
  const auto found = held_.find(device);
  if (found == held_.end()) return;
  auto& waiting = found->second;
  while (!waiting.empty()) {
    const auto& message = waiting.front().message;
    const std::uint64_t token = kTokenMark | next_++;
    sent_[token] = {device, name_of(message), message.delivery_tag, waiting.front().until};
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
  if (acknowledged) {
    tries_.forget(sent.name);
    // Also with a link: one that is dying takes the word of it and loses it.
    if (acknowledged_.size() >= kMaxRemembered) acknowledged_.clear();
    if (!sent.name.empty()) acknowledged_.insert(sent.name);
  } else if (!sent.name.empty()) {
    tries_.add(sent.name);  // the session ended with the connection
  }
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
