#include "services/mqtt/outbox.hpp"

#include <algorithm>

#include "events/result.hpp"
#include "services/mqtt/encoder.hpp"

namespace decklog::mqtt {

bool Outbox::has_room(std::size_t bytes, const Limits& limits) const {
  return entries_.empty() || (entries_.size() < limits.messages && bytes_ + bytes <= limits.bytes);
}

std::uint16_t Outbox::free_packet_id() {
  DECKLOG_ASSERT(ids_.size() < 65'535);
  do {
    last_id_ = static_cast<std::uint16_t>(last_id_ == 65'535 ? 1 : last_id_ + 1);
  } while (ids_.contains(last_id_));
  return last_id_;
}

void Outbox::push(Outgoing entry) {
  if (entry.stored == 0) entry.packet_id = free_packet_id();
  DECKLOG_ASSERT(entry.packet_id != 0);
  const bool fresh = ids_.emplace(entry.packet_id, front_position_ + entries_.size()).second;
  DECKLOG_ASSERT(fresh);
  if (entries_.full()) entries_.set_capacity(std::max<std::size_t>(8, entries_.capacity() * 2));
  bytes_ += entry.bytes();
  entries_.push_back(std::move(entry));
}

void Outbox::push_released(std::uint16_t packet_id) {
  Outgoing entry;
  entry.stored = 1;  // the id itself is of no use any more; not 0, so that the given packet id is kept
  entry.packet_id = packet_id;
  entry.qos = Qos::kExactlyOnce;
  entry.state = SendState::kReleased;
  push(std::move(entry));
}

std::uint64_t Outbox::pump(std::string& out, std::size_t out_limit, const Limits& limits) {
  std::uint64_t sent_through = 0;
  while (cursor_ < entries_.size() && cursor_ < limits.window && out.size() < out_limit) {
    auto& entry = entries_[cursor_];
    ++cursor_;
    if (entry.state == SendState::kDone) continue;
    if (entry.state == SendState::kReleased) {
      if (entry.may_go) append_acknowledgement(out, PacketType::kPubrel, entry.packet_id);
      continue;
    }
    PublishPacket packet;
    packet.topic = entry.topic;
    packet.payload = entry.payload;
    packet.packet_id = entry.packet_id;
    packet.qos = entry.qos;
    packet.retain = entry.retain;
    packet.duplicate = entry.duplicate;
    append_publish(out, packet);
    entry.state = SendState::kSent;
    sent_through = std::max(sent_through, entry.stored);
  }
  return sent_through;
}

Outgoing* Outbox::find(std::uint16_t packet_id) {
  const auto found = ids_.find(packet_id);
  if (found == ids_.end()) return nullptr;
  const auto index = found->second - front_position_;
  return index < cursor_ ? &entries_[index] : nullptr;
}

void Outbox::discard_message(Outgoing& entry) {
  bytes_ -= entry.bytes();
  entry.topic = {};
  entry.payload = {};
  entry.keep.reset();
}

void Outbox::finish(Outgoing& entry) {
  discard_message(entry);
  entry.state = SendState::kDone;
  ids_.erase(entry.packet_id);
  drop_done();
}

void Outbox::drop_done() {
  while (!entries_.empty() && entries_.front().state == SendState::kDone) {
    entries_.pop_front();
    ++front_position_;
    if (cursor_ > 0) --cursor_;
  }
}

Outbox::Answer Outbox::on_puback(std::uint16_t packet_id) {
  auto* entry = find(packet_id);
  if (entry == nullptr || entry->qos != Qos::kAtLeastOnce || entry->state != SendState::kSent) return {};
  const Answer answer{true, entry->stored, entry->token};
  finish(*entry);
  return answer;
}

Outbox::Answer Outbox::on_pubrec(std::uint16_t packet_id) {
  auto* entry = find(packet_id);
  if (entry == nullptr || entry->qos != Qos::kExactlyOnce || entry->state != SendState::kSent) return {};
  const Answer answer{true, entry->stored, entry->token};
  discard_message(*entry);
  entry->state = SendState::kReleased;
  entry->may_go = false;
  entry->token = 0;  // told once
  return answer;
}

void Outbox::release_durable(std::uint16_t packet_id) {
  const auto found = ids_.find(packet_id);
  if (found == ids_.end()) return;
  auto& entry = entries_[found->second - front_position_];
  if (entry.state == SendState::kReleased) entry.may_go = true;
}

Outbox::Answer Outbox::on_pubcomp(std::uint16_t packet_id) {
  auto* entry = find(packet_id);
  if (entry == nullptr || entry->state != SendState::kReleased) return {};
  const Answer answer{true, entry->stored, entry->token};
  finish(*entry);
  return answer;
}

void Outbox::rebuild(std::vector<Outgoing> entries) {
  clear();
  for (auto& entry : entries) {
    ids_.emplace(entry.packet_id, front_position_ + entries_.size());
    if (entries_.full()) entries_.set_capacity(std::max<std::size_t>(8, entries_.capacity() * 2));
    bytes_ += entry.bytes();
    entries_.push_back(std::move(entry));
  }
}

void Outbox::suspend() {
  std::vector<Outgoing> staying;
  for (auto& entry : entries_) {
    const bool released = entry.state == SendState::kReleased;
    if (entry.state != SendState::kDone && (released || entry.stored == 0))
      staying.push_back(std::move(entry));
  }
  rebuild(std::move(staying));
}

void Outbox::resume() {
  cursor_ = 0;
  for (auto& entry : entries_) {
    if (entry.state == SendState::kSent) entry.duplicate = true;
  }
}

bool Outbox::withdraw(std::uint64_t token) {
  for (std::size_t at = cursor_; at < entries_.size(); ++at) {
    auto& entry = entries_[at];
    if (entry.token != token || entry.state == SendState::kDone) continue;
    // A client that has seen it at QoS 2 remembers the identifier: it must not be given to another message.
    if (entry.qos == Qos::kExactlyOnce && entry.state != SendState::kQueued) return false;
    finish(entry);
    return true;
  }
  return false;
}

std::vector<std::uint64_t> Outbox::tokens() const {
  std::vector<std::uint64_t> tokens;
  for (const auto& entry : entries_) {
    if (entry.token != 0 && entry.state != SendState::kDone) tokens.push_back(entry.token);
  }
  return tokens;
}

void Outbox::clear() {
  front_position_ += entries_.size();
  entries_.clear();
  entries_.set_capacity(0);
  ids_ = {};
  cursor_ = 0;
  bytes_ = 0;
}

}  // namespace decklog::mqtt
