// Filters and a topic, one a line, the topic last: the index must agree with the definition of a match.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "services/mqtt/subscription_index.hpp"
#include "services/mqtt/text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace decklog::mqtt;
  constexpr std::size_t kMaxLines = 64;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string_view> lines;
  while (lines.size() < kMaxLines) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  const auto topic = lines.back();
  lines.pop_back();
  if (!valid_topic_name(topic)) return 0;
  SubscriptionIndex index;
  std::map<SubscriberId, Qos> expected;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!valid_topic_filter(lines[i])) continue;
    const auto subscriber = static_cast<SubscriberId>(i);
    const auto qos = static_cast<Qos>(i % 3);
    index.subscribe(subscriber, lines[i], qos);
    if (filter_matches(lines[i], topic)) expected[subscriber] = qos;
  }
  for (int round = 0; round < 2; ++round) {  // computed, then cached
    const auto& matches = index.match(topic);
    if (matches.size() != expected.size()) std::abort();
    for (const auto& match : matches) {
      if (expected.at(match.subscriber) != match.qos) std::abort();
    }
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (valid_topic_filter(lines[i])) index.unsubscribe(static_cast<SubscriberId>(i), lines[i]);
  }
  if (index.filters() != 0 || !index.match(topic).empty()) std::abort();
  return 0;
}
