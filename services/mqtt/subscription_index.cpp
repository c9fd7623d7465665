#include "services/mqtt/subscription_index.hpp"

#include <algorithm>
#include <cstring>

#include "events/result.hpp"
#include "services/mqtt/text.hpp"

namespace decklog::mqtt {
namespace {

constexpr FilterId kEmpty = 0xFFFFFFFFu;
constexpr FilterId kGone = 0xFFFFFFFEu;
constexpr std::uint64_t kAnyLevel = 0x9E3779B97F4A7C15ull;
constexpr std::uint64_t kAllLevels = 0xC2B2AE3D27D4EB4Full;

std::uint64_t level_hash(std::string_view level) {
  return std::hash<std::string_view>{}(level);
}

std::uint64_t mix(std::uint64_t seed, std::uint64_t level) {
  auto hash = (seed ^ level) * 0xD6E8FEB86659FD93ull;
  hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93ull;
  return hash ^ hash >> 32;
}

template <class Visit>
void for_each_level(std::string_view text, Visit visit) {
  while (true) {
    const auto slash = text.find('/');
    visit(text.substr(0, slash));
    if (slash == std::string_view::npos) return;
    text.remove_prefix(slash + 1);
  }
}

std::uint64_t filter_hash(std::string_view filter) {
  std::uint64_t hash = 1;
  for_each_level(filter, [&](std::string_view level) {
    hash = mix(hash, level == "+" ? kAnyLevel : level == "#" ? kAllLevels : level_hash(level));
  });
  return hash;
}

}  // namespace

// Where a filter has its wildcards. `any` lists the levels that are `+`, rising.
struct SubscriptionIndex::Shape final {
  std::uint32_t levels = 0;  // without a final `#`
  bool all = false;          // ends in `#`
  std::vector<std::uint32_t> any;
  std::uint32_t filters = 0;  // that have this shape; 0 = slot is free
};

SubscriptionIndex::SubscriptionIndex() : table_(64, kEmpty) {}
SubscriptionIndex::~SubscriptionIndex() = default;

std::uint32_t SubscriptionIndex::shape_of(std::string_view filter) {
  Shape shape;
  for_each_level(filter, [&](std::string_view level) {
    if (level == "#") {
      shape.all = true;
      return;
    }
    if (level == "+") shape.any.push_back(shape.levels);
    ++shape.levels;
  });
  std::optional<std::uint32_t> vacant;
  for (std::uint32_t i = 0; i < shapes_.size(); ++i) {
    if (shapes_[i].filters == 0) {
      vacant = i;
    } else if (shapes_[i].levels == shape.levels && shapes_[i].all == shape.all &&
               shapes_[i].any == shape.any) {
      ++shapes_[i].filters;
      return i;
    }
  }
  shape.filters = 1;
  if (vacant) {
    shapes_[*vacant] = std::move(shape);
    return *vacant;
  }
  shapes_.push_back(std::move(shape));
  return static_cast<std::uint32_t>(shapes_.size() - 1);
}

void SubscriptionIndex::release_shape(std::uint32_t shape) {
  if (--shapes_[shape].filters > 0) return;
  shapes_[shape].any = {};
  while (!shapes_.empty() && shapes_.back().filters == 0) shapes_.pop_back();
}

std::optional<FilterId> SubscriptionIndex::find(std::string_view filter, std::uint64_t hash) const {
  const auto mask = table_.size() - 1;
  for (auto at = hash & mask;; at = (at + 1) & mask) {
    const auto id = table_[at];
    if (id == kEmpty) return std::nullopt;
    if (id != kGone && records_[id].hash == hash && text(id) == filter) return id;
  }
}

void SubscriptionIndex::grow_table() {
  // Also run to sweep out the gone marks, hence by live filters.
  std::size_t size = 64;
  while (size < (live_filters_ + 1) * 2) size *= 2;
  std::vector<FilterId> table(size, kEmpty);
  for (const auto id : table_) {
    if (id == kEmpty || id == kGone) continue;
    auto at = records_[id].hash & (size - 1);
    while (table[at] != kEmpty) at = (at + 1) & (size - 1);
    table[at] = id;
  }
  table_ = std::move(table);
  table_used_ = live_filters_;
}

FilterId SubscriptionIndex::insert(std::string_view filter, std::uint64_t hash) {
  if ((table_used_ + 1) * 4 > table_.size() * 3) grow_table();
  FilterId id;
  if (!free_records_.empty()) {
    id = free_records_.back();
    free_records_.pop_back();
  } else {
    id = static_cast<FilterId>(records_.size());
    records_.emplace_back();
  }
  auto& record = records_[id];
  record.hash = hash;
  record.text = std::make_unique_for_overwrite<char[]>(filter.size());
  std::memcpy(record.text.get(), filter.data(), filter.size());
  record.text_bytes = static_cast<std::uint32_t>(filter.size());
  record.shape = shape_of(filter);
  const auto mask = table_.size() - 1;
  auto at = hash & mask;
  while (table_[at] != kEmpty) at = (at + 1) & mask;
  table_[at] = id;
  ++table_used_;
  ++live_filters_;
  return id;
}

void SubscriptionIndex::erase(FilterId filter) {
  auto& record = records_[filter];
  const auto mask = table_.size() - 1;
  auto at = record.hash & mask;
  while (table_[at] != filter) at = (at + 1) & mask;
  table_[at] = kGone;
  --live_filters_;
  release_shape(record.shape);
  record = Record{};
  free_records_.push_back(filter);
}

SubscriptionIndex::Added SubscriptionIndex::subscribe(SubscriberId subscriber, std::string_view filter,
                                                      Qos qos) {
  DECKLOG_ASSERT(valid_topic_filter(filter));
  const auto hash = filter_hash(filter);
  const auto known = find(filter, hash);
  const auto id = known ? *known : insert(filter, hash);
  auto& holders = records_[id].holders;
  const auto at = std::lower_bound(holders.begin(), holders.end(), subscriber,
                                   [](const Holder& a, SubscriberId b) { return a.subscriber < b; });
  if (at != holders.end() && at->subscriber == subscriber) {
    if (at->qos != qos) changed();
    at->qos = qos;
    return {id, true};
  }
  holders.insert(at, Holder{subscriber, qos});
  ++subscriptions_;
  changed();
  return {id, false};
}

std::optional<FilterId> SubscriptionIndex::unsubscribe(SubscriberId subscriber, std::string_view filter) {
  const auto id = find(filter, filter_hash(filter));
  if (!id || !granted(subscriber, *id)) return std::nullopt;
  remove_holder(*id, subscriber);
  return id;
}

void SubscriptionIndex::unsubscribe(SubscriberId subscriber, FilterId filter) {
  DECKLOG_ASSERT(granted(subscriber, filter).has_value());
  remove_holder(filter, subscriber);
}

void SubscriptionIndex::remove_holder(FilterId filter, SubscriberId subscriber) {
  auto& holders = records_[filter].holders;
  const auto at = std::lower_bound(holders.begin(), holders.end(), subscriber,
                                   [](const Holder& a, SubscriberId b) { return a.subscriber < b; });
  holders.erase(at);
  --subscriptions_;
  if (holders.empty()) erase(filter);
  changed();
}

std::string_view SubscriptionIndex::text(FilterId filter) const {
  const auto& record = records_[filter];
  return {record.text.get(), record.text_bytes};
}

std::optional<Qos> SubscriptionIndex::granted(SubscriberId subscriber, FilterId filter) const {
  if (filter >= records_.size()) return std::nullopt;
  const auto& holders = records_[filter].holders;
  const auto at = std::lower_bound(holders.begin(), holders.end(), subscriber,
                                   [](const Holder& a, SubscriberId b) { return a.subscriber < b; });
  if (at == holders.end() || at->subscriber != subscriber) return std::nullopt;
  return at->qos;
}

void SubscriptionIndex::changed() {
  if (cache_.empty()) return;
  cache_.clear();
  cached_matches_ = 0;
}

void SubscriptionIndex::collect(std::string_view topic, std::vector<Match>& matches) const {
  boost::container::small_vector<std::uint64_t, 16> levels;
  for_each_level(topic, [&](std::string_view level) { levels.push_back(level_hash(level)); });
  const bool reserved = topic.front() == '$';
  for (const auto& shape : shapes_) {
    if (shape.filters == 0) continue;
    if (shape.all ? shape.levels > levels.size() : shape.levels != levels.size()) continue;
    const bool wild_first = shape.levels == 0 || (!shape.any.empty() && shape.any.front() == 0);
    if (reserved && wild_first) continue;
    std::uint64_t hash = 1;
    auto any = shape.any.begin();
    for (std::uint32_t i = 0; i < shape.levels; ++i) {
      const bool masked = any != shape.any.end() && *any == i;
      if (masked) ++any;
      hash = mix(hash, masked ? kAnyLevel : levels[i]);
    }
    if (shape.all) hash = mix(hash, kAllLevels);
    const auto mask = table_.size() - 1;
    for (auto at = hash & mask; table_[at] != kEmpty; at = (at + 1) & mask) {
      const auto id = table_[at];
      if (id == kGone || records_[id].hash != hash) continue;
      // The hash covers shape and levels; the text check makes a collision harmless.
      if (!filter_matches(text(id), topic)) continue;
      for (const auto& holder : records_[id].holders) matches.push_back({holder.subscriber, holder.qos});
    }
  }
  if (matches.size() < 2) return;
  std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
    return a.subscriber != b.subscriber ? a.subscriber < b.subscriber : a.qos > b.qos;
  });
  matches.erase(std::unique(matches.begin(), matches.end(),
                            [](const Match& a, const Match& b) { return a.subscriber == b.subscriber; }),
                matches.end());
}

const std::vector<Match>& SubscriptionIndex::match(std::string_view topic) {
  if (topic.size() <= kCacheTopicBytes) {
    if (const auto cached = cache_.find(topic); cached != cache_.end()) return cached->second;
  }
  uncached_.clear();
  if (!topic.empty()) collect(topic, uncached_);
  if (topic.size() > kCacheTopicBytes) return uncached_;
  if (cache_.size() >= kCacheTopics || cached_matches_ + uncached_.size() > kCacheMatches) {
    cache_.clear();
    cached_matches_ = 0;
  }
  cached_matches_ += uncached_.size();
  return cache_.emplace(std::string(topic), uncached_).first->second;
}

}  // namespace decklog::mqtt
