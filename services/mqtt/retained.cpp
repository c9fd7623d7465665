#include "services/mqtt/retained.hpp"

#include "services/mqtt/text.hpp"

namespace decklog::mqtt {

RetainedMessages::Change RetainedMessages::put(const MessagePtr& message) {
  const auto old = messages_.find(message->topic());
  const auto old_bytes = old == messages_.end() ? 0 : old->second->memory_bytes();
  if (message->payload().empty()) {
    if (old == messages_.end()) return Change::kNothing;
    bytes_ -= old_bytes;
    messages_.erase(old);
    return Change::kErased;
  }
  const auto bytes = bytes_ - old_bytes + message->memory_bytes();
  const auto count = messages_.size() + (old == messages_.end() ? 1 : 0);
  if (bytes > limits_.max_bytes || count > limits_.max_messages) return Change::kFull;
  // Erased first: the key must view the message that stays.
  if (old != messages_.end()) messages_.erase(old);
  messages_.emplace(message->topic(), message);
  bytes_ = bytes;
  return Change::kStored;
}

void RetainedMessages::for_each(std::string_view filter,
                                const std::function<void(const MessagePtr&)>& visit) const {
  const auto wildcard = filter.find_first_of("+#");
  if (wildcard == std::string_view::npos) {
    if (const auto found = messages_.find(filter); found != messages_.end()) visit(found->second);
    return;
  }
  // "a/#" also selects "a", so the separator is not part of the common prefix.
  auto prefix = filter.substr(0, wildcard);
  if (filter[wildcard] == '#' && !prefix.empty()) prefix.remove_suffix(1);
  for (auto at = messages_.lower_bound(prefix); at != messages_.end(); ++at) {
    if (at->first.substr(0, prefix.size()) != prefix) break;
    if (filter_matches(filter, at->first)) visit(at->second);
  }
}

}  // namespace decklog::mqtt
