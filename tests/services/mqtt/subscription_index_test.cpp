#include "services/mqtt/subscription_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <rapidcheck.h>

#include <map>

#include "services/mqtt/text.hpp"

namespace decklog::mqtt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SubscriptionIndex, ExactAndWildcards) {
  SubscriptionIndex index;
  index.subscribe(1, "a/b", Qos::kAtMostOnce);
  index.subscribe(2, "a/+", Qos::kAtLeastOnce);
  index.subscribe(3, "a/#", Qos::kExactlyOnce);
  index.subscribe(4, "#", Qos::kAtMostOnce);
  index.subscribe(5, "b/b", Qos::kAtMostOnce);
  EXPECT_THAT(index.match("a/b"), ElementsAre(Match{1, Qos::kAtMostOnce}, Match{2, Qos::kAtLeastOnce},
                                              Match{3, Qos::kExactlyOnce}, Match{4, Qos::kAtMostOnce}));
  EXPECT_THAT(index.match("a"), ElementsAre(Match{3, Qos::kExactlyOnce}, Match{4, Qos::kAtMostOnce}));
  EXPECT_THAT(index.match("a/b/c"), ElementsAre(Match{3, Qos::kExactlyOnce}, Match{4, Qos::kAtMostOnce}));
}

// [MQTT-3.3.5-1]: overlapping subscriptions give one delivery at the highest QoS.
TEST(SubscriptionIndex, OverlapIsOneDeliveryAtTheHighestQos) {
  SubscriptionIndex index;
  index.subscribe(7, "a/#", Qos::kAtMostOnce);
  index.subscribe(7, "a/+", Qos::kExactlyOnce);
  index.subscribe(7, "+/b", Qos::kAtLeastOnce);
  EXPECT_THAT(index.match("a/b"), ElementsAre(Match{7, Qos::kExactlyOnce}));
}

// [MQTT-3.8.4-3]: the same filter again replaces the subscription.
TEST(SubscriptionIndex, SameFilterReplaces) {
  SubscriptionIndex index;
  const auto first = index.subscribe(1, "a", Qos::kExactlyOnce);
  EXPECT_FALSE(first.replaced);
  EXPECT_THAT(index.match("a"), ElementsAre(Match{1, Qos::kExactlyOnce}));
  const auto second = index.subscribe(1, "a", Qos::kAtMostOnce);
  EXPECT_TRUE(second.replaced);
  EXPECT_EQ(second.filter, first.filter);
  EXPECT_THAT(index.match("a"), ElementsAre(Match{1, Qos::kAtMostOnce}));
  EXPECT_EQ(index.subscriptions(), 1u);
}

// [MQTT-4.7.2-1]
TEST(SubscriptionIndex, WildcardsDoNotSelectDollarTopics) {
  SubscriptionIndex index;
  index.subscribe(1, "#", Qos::kAtMostOnce);
  index.subscribe(2, "+/info", Qos::kAtMostOnce);
  index.subscribe(3, "$SYS/#", Qos::kAtMostOnce);
  index.subscribe(4, "$SYS/+", Qos::kAtMostOnce);
  EXPECT_THAT(index.match("$SYS/info"), ElementsAre(Match{3, Qos::kAtMostOnce}, Match{4, Qos::kAtMostOnce}));
}

TEST(SubscriptionIndex, UnsubscribeTakesEffectAtOnce) {
  SubscriptionIndex index;
  index.subscribe(1, "a/#", Qos::kAtMostOnce);
  const auto added = index.subscribe(2, "a/#", Qos::kAtMostOnce);
  EXPECT_EQ(index.match("a/x").size(), 2u);
  EXPECT_EQ(index.unsubscribe(1, "a/#"), added.filter);
  EXPECT_EQ(index.unsubscribe(1, "a/#"), std::nullopt);
  EXPECT_EQ(index.unsubscribe(3, "nobody"), std::nullopt);
  EXPECT_THAT(index.match("a/x"), ElementsAre(Match{2, Qos::kAtMostOnce}));
  index.unsubscribe(2, added.filter);
  EXPECT_THAT(index.match("a/x"), IsEmpty());
  EXPECT_EQ(index.filters(), 0u);
}

TEST(SubscriptionIndex, LongTopicsMatchWithoutTheCache) {
  SubscriptionIndex index;
  index.subscribe(1, "devices/+/messages/events/#", Qos::kAtLeastOnce);
  const auto topic = "devices/d/messages/events/" + std::string(5000, 'x');
  EXPECT_EQ(index.match(topic).size(), 1u);
}

// Against the definition: filter_matches over a plain list, through any mix of changes.
TEST(SubscriptionIndex, AgreesWithTheDefinition) {
  EXPECT_TRUE(rc::check([] {
    const auto level = rc::gen::elementOf(std::vector<std::string>{"a", "b", "", "$s", "+"});
    SubscriptionIndex index;
    std::map<std::pair<SubscriberId, std::string>, Qos> model;
    const auto make = [&](bool filter) {
      auto levels = *rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(level));
      if (levels.size() > 4) levels.resize(4);
      std::string text;
      for (auto& part : levels) {
        if (!filter && part == "+") part = "p";
        text += (&part == &levels.front() ? "" : "/") + part;
      }
      if (filter && *rc::gen::inRange(0, 3) == 0) text += text.empty() ? "#" : "/#";
      return text.empty() ? std::string("a") : text;
    };
    for (int step = 0; step < 30; ++step) {
      const auto who = static_cast<SubscriberId>(*rc::gen::inRange(0, 4));
      const auto filter = make(true);
      if (*rc::gen::inRange(0, 3) > 0) {
        const auto qos = static_cast<Qos>(*rc::gen::inRange(0, 3));
        index.subscribe(who, filter, qos);
        model[{who, filter}] = qos;
      } else {
        const bool held = model.erase({who, filter}) > 0;
        RC_ASSERT(index.unsubscribe(who, filter).has_value() == held);
      }
      const auto topic = make(false);
      std::map<SubscriberId, Qos> expected;
      for (const auto& [key, qos] : model) {
        if (!filter_matches(key.second, topic)) continue;
        const auto [at, fresh] = expected.emplace(key.first, qos);
        if (!fresh) at->second = std::max(at->second, qos);
      }
      const auto& got = index.match(topic);
      RC_ASSERT(got.size() == expected.size());
      for (const auto& match : got) RC_ASSERT(expected.at(match.subscriber) == match.qos);
    }
    RC_ASSERT(index.subscriptions() == model.size());
  }));
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(SubscriptionIndex, StaysSmall) {
  const auto before = mallinfo2().uordblks;
  SubscriptionIndex index;
  constexpr SubscriberId kCount = 20'000;
  for (SubscriberId i = 0; i < kCount; ++i) {
    index.subscribe(i, "devices/d" + std::to_string(i) + "/messages/devicebound/#", Qos::kAtLeastOnce);
  }
  const auto each = (mallinfo2().uordblks - before) / kCount;
  EXPECT_LE(each, 170u) << "bytes a subscription, of it about 48 for the text";
}
#endif

}  // namespace
}  // namespace decklog::mqtt
