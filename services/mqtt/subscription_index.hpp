// Who wants a topic: all subscriptions of a broker, matched by topic name.
// Filters are not kept as a tree: a tree costs one node a level, this costs one record a filter. Filters that
// have their wildcards in the same places share a "shape"; to match, the topic is masked by each shape of
// fitting depth and looked up by hash. Brokers have a handful of shapes. Answers are cached by topic until a
// subscription changes. Owner: the broker engine; one thread. Cannot fail. Limits: kCacheTopics cached
// topics, kCacheMatches matches; about 100 bytes a subscription beside its own text.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "services/mqtt/packet.hpp"

namespace decklog::mqtt {

using SubscriberId = std::uint32_t;  // the engine's index of a session
using FilterId = std::uint32_t;      // stable while somebody holds the filter

struct Match final {
  SubscriberId subscriber = 0;
  Qos qos = Qos::kAtMostOnce;  // highest granted by any matching filter of this subscriber [MQTT-3.3.5-1]
  friend bool operator==(const Match&, const Match&) = default;
};

class SubscriptionIndex final {
 public:
  static constexpr std::size_t kCacheTopics = 4096;
  static constexpr std::size_t kCacheMatches = 262'144;
  static constexpr std::size_t kCacheTopicBytes =
      256;  // longer topics carry properties and do not come again

  SubscriptionIndex();
  ~SubscriptionIndex();
  SubscriptionIndex(const SubscriptionIndex&) = delete;
  SubscriptionIndex& operator=(const SubscriptionIndex&) = delete;

  struct Added final {
    FilterId filter = 0;
    bool replaced = false;  // the subscriber already held this filter; its QoS is the new one [MQTT-3.8.4-3]
  };
  // `filter` must be valid (valid_topic_filter).
  Added subscribe(SubscriberId subscriber, std::string_view filter, Qos qos);
  // The id the filter had, or nothing when the subscriber did not hold it.
  std::optional<FilterId> unsubscribe(SubscriberId subscriber, std::string_view filter);
  void unsubscribe(SubscriberId subscriber, FilterId filter);

  // Each subscriber once, in order of subscriber id. Valid until the next call that changes or matches.
  const std::vector<Match>& match(std::string_view topic);

  std::string_view text(FilterId filter) const;
  std::optional<Qos> granted(SubscriberId subscriber, FilterId filter) const;
  std::size_t filters() const { return live_filters_; }
  std::size_t subscriptions() const { return subscriptions_; }

 private:
  struct Holder final {
    SubscriberId subscriber = 0;
    Qos qos = Qos::kAtMostOnce;
  };
  using Holders =
      boost::container::small_vector<Holder, 1, void,
                                     boost::container::small_vector_options<boost::container::growth_factor<
                                         boost::container::growth_factor_50>>::type>;
  struct Record final {
    std::uint64_t hash = 0;
    std::unique_ptr<char[]> text;
    std::uint32_t text_bytes = 0;
    std::uint32_t shape = 0;
    Holders holders;  // ordered by subscriber
  };
  struct Shape;
  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::uint32_t shape_of(std::string_view filter);
  void release_shape(std::uint32_t shape);
  std::optional<FilterId> find(std::string_view filter, std::uint64_t hash) const;
  FilterId insert(std::string_view filter, std::uint64_t hash);
  void erase(FilterId filter);
  void grow_table();
  void collect(std::string_view topic, std::vector<Match>& matches) const;
  void remove_holder(FilterId filter, SubscriberId subscriber);
  void changed();

  std::vector<Record> records_;
  std::vector<FilterId> free_records_;
  std::vector<FilterId> table_;  // open addressing, kEmpty and kGone marks
  std::size_t table_used_ = 0;   // live and gone
  std::size_t live_filters_ = 0;
  std::size_t subscriptions_ = 0;
  std::vector<Shape> shapes_;
  std::unordered_map<std::string, std::vector<Match>, StringHash, std::equal_to<>> cache_;
  std::size_t cached_matches_ = 0;
  std::vector<Match> uncached_;
};

}  // namespace decklog::mqtt
