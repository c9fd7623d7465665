#include "services/mqtt/retained.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace decklog::mqtt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Change = RetainedMessages::Change;

MessagePtr message(std::string_view topic, std::string_view payload) {
  return Message::make(topic, payload, Qos::kAtLeastOnce);
}

std::vector<std::string> found(const RetainedMessages& retained, std::string_view filter) {
  std::vector<std::string> topics;
  std::string after;
  EXPECT_TRUE(retained.for_each(filter, after, 1000, [&](const MessagePtr& m) {
    topics.emplace_back(m->topic());
    return true;
  }));
  return topics;
}

TEST(Retained, LastMessageWinsAndEmptyErases) {
  RetainedMessages retained({});
  EXPECT_EQ(retained.put(message("a", "1")), Change::kStored);
  EXPECT_EQ(retained.put(message("a", "2")), Change::kStored);
  std::string payload, after;
  EXPECT_TRUE(retained.for_each("a", after, 1, [&](const MessagePtr& m) {
    payload = m->payload();
    return true;
  }));
  EXPECT_EQ(payload, "2");
  EXPECT_EQ(retained.put(message("a", "")), Change::kErased);
  EXPECT_EQ(retained.put(message("a", "")), Change::kNothing);
  EXPECT_THAT(found(retained, "#"), IsEmpty());
  EXPECT_EQ(retained.bytes(), 0u);
}

// In pieces, whatever happens to the topics between them.
TEST(Retained, AWalkGoesOnWhereItStopped) {
  RetainedMessages retained({});
  for (const auto* topic : {"a/1", "a/2", "a/3", "a/4", "a/5", "b"}) retained.put(message(topic, "v"));
  std::vector<std::string> topics;
  std::size_t room = 2;
  const auto take = [&](const MessagePtr& m) {
    if (room == 0) return false;
    --room;
    topics.emplace_back(m->topic());
    return true;
  };
  std::string after;
  EXPECT_FALSE(retained.for_each("a/#", after, 1000, take));
  EXPECT_THAT(topics, ElementsAre("a/1", "a/2"));
  retained.put(message("a/2", ""));
  retained.put(message("a/3", ""));
  retained.put(message("a/3x", "new"));
  room = 10;
  EXPECT_FALSE(retained.for_each("a/#", after, 1, take));
  EXPECT_THAT(topics, ElementsAre("a/1", "a/2", "a/3x"));
  EXPECT_TRUE(retained.for_each("a/#", after, 1000, take));
  EXPECT_THAT(topics, ElementsAre("a/1", "a/2", "a/3x", "a/4", "a/5"));
}

TEST(Retained, FiltersSelect) {
  RetainedMessages retained({});
  for (const auto* topic : {"a", "a/b", "a/c", "a/b/c", "ab", "/x", "$SYS/v", "b"})
    retained.put(message(topic, "v"));
  EXPECT_THAT(found(retained, "a/#"), ElementsAre("a", "a/b", "a/b/c", "a/c"));
  EXPECT_THAT(found(retained, "a/+"), ElementsAre("a/b", "a/c"));
  EXPECT_THAT(found(retained, "+"), ElementsAre("a", "ab", "b"));
  EXPECT_THAT(found(retained, "/+"), ElementsAre("/x"));
  EXPECT_THAT(found(retained, "#").size(), 7u);
  EXPECT_THAT(found(retained, "$SYS/#"), ElementsAre("$SYS/v"));
  EXPECT_THAT(found(retained, "a/b"), ElementsAre("a/b"));
}

TEST(Retained, BoundsAreKept) {
  RetainedMessages retained({2, 10'000});
  EXPECT_EQ(retained.put(message("a", "1")), Change::kStored);
  EXPECT_EQ(retained.put(message("b", "1")), Change::kStored);
  EXPECT_EQ(retained.put(message("c", "1")), Change::kFull);
  EXPECT_EQ(retained.put(message("a", std::string(20'000, 'x'))), Change::kFull);
  EXPECT_EQ(retained.put(message("a", "2")), Change::kStored);
  EXPECT_EQ(retained.size(), 2u);
}

}  // namespace
}  // namespace decklog::mqtt
