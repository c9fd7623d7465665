// Quotas, time to live, conservation when messages are lost on purpose.
#include <gmock/gmock.h>

#include "tests/persistence_stores/store_fixture.hpp"

namespace decklog::persistence {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr QueueLimits limited(std::uint64_t messages, FullPolicy policy) {
  return {.max_bytes = 1'000'000, .max_messages = messages, .policy = policy};
}

class MessageStoreLimits : public testing::Test {
 protected:
  TempDir dir_;
  Harness h_{dir_.path("store")};

  std::uint64_t lost(const std::string& reason) const {
    std::uint64_t count = 0;
    for (const Loss& loss : h_.losses) count += loss.reason == reason ? loss.count : 0;
    return count;
  }
};

TEST_F(MessageStoreLimits, RejectNewRefusesThePublisherAndCountsNothing) {
  const QueueId full = h_.queue("full", limited(2, FullPolicy::kRejectNew)), other = h_.queue("other");
  h_.put_ok({{full}}, "1");
  h_.put_ok({{full}}, "2");
  const auto refused = h_.put({{other}, {full}}, "3");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kNoSpace);
  EXPECT_EQ(h_.store->counters(other).accepted, 0u);
  ASSERT_TRUE(h_.durable(h_.put_ok({{other}}, "4")));
  h_.store->ack(full, h_.fetch_all(full).front().id);
  EXPECT_TRUE(h_.put({{full}}, "5")) << "room again after an acknowledgement";
  h_.expect_conserved();
}

TEST_F(MessageStoreLimits, DropNewLosesOnlyInTheFullQueue) {
  const QueueId full = h_.queue("full", limited(1, FullPolicy::kDropNew)), other = h_.queue("other");
  h_.put_ok({{full}, {other}}, "1");
  ASSERT_TRUE(h_.durable(h_.put_ok({{full}, {other}}, "2")));
  EXPECT_THAT(Harness::bodies(h_.fetch_all(full)), ElementsAre("1"));
  EXPECT_THAT(Harness::bodies(h_.fetch_all(other)), ElementsAre("1", "2"));
  EXPECT_EQ(lost("quota"), 1u);
  const Counters counters = h_.store->counters(full);
  EXPECT_EQ(counters.accepted, 2u);
  EXPECT_EQ(counters.dropped, 1u);
  ASSERT_TRUE(h_.durable(h_.put_ok({{full}}, "dropped everywhere")));
  h_.expect_conserved();
}

TEST_F(MessageStoreLimits, DropOldestKeepsTheNewest) {
  const QueueId queue = h_.queue("a", limited(100, FullPolicy::kDropOldest));
  MessageId last;
  for (int i = 0; i < 500; ++i) {
    last = h_.put_ok({{queue}}, std::to_string(i));
    h_.executor->run_ready();
    if (i % 50 == 49) {
      ASSERT_TRUE(h_.durable(last));
    }
  }
  ASSERT_TRUE(h_.durable(last));
  const auto got = h_.fetch_all(queue);
  EXPECT_LE(got.size(), 100u);
  EXPECT_GE(got.size(), 80u);
  EXPECT_EQ(got.back().body, "499");
  EXPECT_EQ(h_.store->counters(queue).dropped, 500 - got.size());
  EXPECT_EQ(lost("quota"), 500 - got.size());
  h_.expect_conserved();
}

TEST_F(MessageStoreLimits, DropOldestReachesMessagesOnDisk) {
  h_.options().cache_bytes = 1;
  h_.reopen();
  const QueueId queue = h_.queue("a", limited(5'000, FullPolicy::kDropOldest));
  MessageId last;
  for (int i = 0; i < 5'000; ++i) last = h_.put_ok({{queue}}, std::to_string(i));
  ASSERT_TRUE(h_.durable(last));
  for (int i = 5'000; i < 5'400; ++i) last = h_.put_ok({{queue}}, std::to_string(i));
  ASSERT_TRUE(h_.durable(last));
  ASSERT_TRUE(h_.executor->run_until([&] {
    h_.store->tick(h_.now);
    return h_.store->counters(queue).queued <= 5'000;
  }));
  const auto got = h_.fetch_all(queue);
  EXPECT_EQ(got.back().body, "5399");
  EXPECT_EQ(got.size(), h_.store->counters(queue).queued);
  h_.expect_conserved();
}

TEST_F(MessageStoreLimits, TheTotalQuotaHoldsForAllQueuesTogether) {
  h_.options().max_bytes = 10'000;
  h_.reopen();
  const QueueId a = h_.queue("a"), b = h_.queue("b");
  for (int i = 0; i < 9; ++i) h_.put_ok({{a}}, std::string(1'000, 'x'));
  EXPECT_EQ(h_.put({{b}}, std::string(1'000, 'x')).error().code, Errc::kNoSpace);
  EXPECT_TRUE(h_.put({{b}}, "small"));
}

TEST_F(MessageStoreLimits, ExpiredMessagesAreNotDeliveredAndAreReported) {
  const QueueId queue = h_.queue("a");
  const QueueRef brief{queue, {}, 0, std::chrono::seconds(10)};
  h_.put_ok({brief}, "brief");
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue}}, "for ever")));
  h_.pass(std::chrono::seconds(9));
  EXPECT_EQ(h_.fetch_all(queue).size(), 2u);
  h_.pass(std::chrono::seconds(1));
  EXPECT_THAT(Harness::bodies(h_.fetch_all(queue)), ElementsAre("for ever"));
  h_.executor->run_ready();
  EXPECT_EQ(lost("expired"), 1u);
  EXPECT_EQ(h_.store->counters(queue).expired, 1u);
  h_.expect_conserved();
}

TEST_F(MessageStoreLimits, AStepOfTheWallClockExpiresNothing) {
  const QueueId queue = h_.queue("a");
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue, {}, 0, std::chrono::seconds(10)}}, "x")));
  h_.now.wall.ns += 3'600ll * 1'000'000'000;
  h_.store->tick(h_.now);
  EXPECT_EQ(h_.fetch_all(queue).size(), 1u);
  h_.now.wall.ns -= 7'200ll * 1'000'000'000;
  h_.pass(std::chrono::seconds(10));
  EXPECT_THAT(h_.fetch_all(queue), IsEmpty());
}

TEST_F(MessageStoreLimits, TimeWithoutPowerCounts) {
  const QueueId queue = h_.queue("a");
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue, {}, 0, std::chrono::hours(1)}}, "x")));
  h_.close();
  h_.now = {{h_.now.wall.ns + 3'599ll * 1'000'000'000}, {5'000'000'000}};
  h_.open(BootId{"22222222-2222-2222-2222-222222222222"});
  EXPECT_EQ(h_.fetch_all(queue).size(), 1u);
  h_.pass(std::chrono::seconds(1));
  EXPECT_THAT(h_.fetch_all(queue), IsEmpty());
  h_.expect_conserved();
}

TEST_F(MessageStoreLimits, QueuesThatNobodyReadsAreSweptOnDiskToo) {
  h_.options().cache_bytes = 1;
  h_.reopen();
  const QueueId queue = h_.queue("a");
  MessageId last;
  for (int i = 0; i < 5'000; ++i) {
    const Duration life = i % 2 == 0 ? std::chrono::seconds(10) : std::chrono::seconds(0);
    last = h_.put_ok({{queue, {}, 0, life}}, std::to_string(i));
  }
  ASSERT_TRUE(h_.durable(last));
  h_.pass(std::chrono::seconds(11));
  ASSERT_TRUE(h_.executor->run_until([&] {
    h_.store->tick(h_.now);
    return h_.store->counters(queue).expired == 2'500;
  }));
  EXPECT_EQ(h_.store->counters(queue).queued, 2'500u);
  EXPECT_EQ(h_.fetch_all(queue).size(), 2'500u);
  h_.expect_conserved();
}

}  // namespace
}  // namespace decklog::persistence
