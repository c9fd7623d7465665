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

bool RetainedMessages::for_each(std::string_view filter, std::string& after, std::size_t most,
                                const std::function<bool(const MessagePtr&)>& visit) const {
  const auto wildcard = filter.find_first_of("+#");
  if (wildcard == std::string_view::npos) {
    const auto found = messages_.find(filter);
    return found == messages_.end() || visit(found->second);
  }
  // "a/#" also selects "a", so the separator is not part of the common prefix.
  auto prefix = filter.substr(0, wildcard);
  if (filter[wildcard] == '#' && !prefix.empty()) prefix.remove_suffix(1);
  auto at = after.empty() ? messages_.lower_bound(prefix) : messages_.upper_bound(after);
  for (; at != messages_.end() && at->first.starts_with(prefix); ++at) {
    if (most-- == 0) return false;
    if (filter_matches(filter, at->first) && !visit(at->second)) return false;
    after = at->first;
  }
  return true;
}

}  // namespace decklog::mqtt
