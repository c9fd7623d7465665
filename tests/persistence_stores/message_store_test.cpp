// The message store by its contract, with a real database.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/persistence_stores/store_fixture.hpp"

namespace decklog::persistence {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class MessageStoreTest : public testing::Test {
 protected:
  TempDir dir_;
  Harness h_{dir_.path("store")};
};

std::vector<MessageId> ids_of(const std::vector<Delivery>& deliveries) {
  std::vector<MessageId> out;
  for (const Delivery& delivery : deliveries) out.push_back(delivery.id);
  return out;
}

TEST_F(MessageStoreTest, ShowsAMessageOnlyWhenItIsDurable) {
  const QueueId queue = h_.queue("a");
  const MessageId id = h_.put_ok({{queue}}, "one");
  EXPECT_THAT(h_.fetch_all(queue), IsEmpty());
  ASSERT_TRUE(h_.durable(id));
  EXPECT_TRUE(h_.commits.back().status);
  const auto got = h_.fetch_all(queue);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].head, "head");
  EXPECT_EQ(got[0].body, "one");
  EXPECT_EQ(got[0].id, id);
  EXPECT_FALSE(got[0].from_earlier_run);
  EXPECT_THAT(h_.readable, ElementsAre(queue));
}

TEST_F(MessageStoreTest, KeepsMessagesAndOrderOverARestart) {
  const QueueId queue = h_.queue("a");
  MessageId last;
  std::vector<std::string> expected;
  for (int i = 0; i < 1000; ++i) {
    expected.push_back("message " + std::to_string(i));
    last = h_.put_ok({{queue}}, expected.back());
    if (i % 37 == 0) h_.executor->run_ready();
  }
  ASSERT_TRUE(h_.durable(last));
  h_.reopen();
  EXPECT_EQ(h_.store->find_queue({QueueKind::kEndpoint, "a", 9}), queue);
  const auto got = h_.fetch_all(queue);
  EXPECT_EQ(Harness::bodies(got), expected);
  ASSERT_FALSE(got.empty());
  EXPECT_TRUE(got.front().from_earlier_run);
  EXPECT_GT(h_.put_ok({{queue}}, "next"), last);
  h_.expect_conserved();
}

TEST_F(MessageStoreTest, AcknowledgedMessagesDoNotComeBack) {
  const QueueId queue = h_.queue("a");
  std::vector<MessageId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(h_.put_ok({{queue}}, std::to_string(i)));
  ASSERT_TRUE(h_.durable(ids.back()));
  h_.store->ack(queue, ids[3]);
  h_.store->ack(queue, ids[0]);
  h_.store->ack(queue, ids[0]);  // a repeat changes nothing
  h_.store->flush();
  h_.reopen();
  EXPECT_THAT(Harness::bodies(h_.fetch_all(queue)), ElementsAre("1", "2", "4", "5", "6", "7", "8", "9"));
  EXPECT_EQ(h_.store->counters(queue).delivered, 2u);
  EXPECT_EQ(h_.store->counters(queue).queued, 8u);
  h_.expect_conserved();
}

TEST_F(MessageStoreTest, OneCopyServesManyQueuesAndGoesWithTheLast) {
  const QueueId a = h_.queue("a"), b = h_.queue("b"), c = h_.queue("c");
  const MessageId one = h_.put_ok({{a}, {b}, {c}}, "shared");
  const MessageId two = h_.put_ok({{b}}, "only b");
  const MessageId three = h_.put_ok({{a}, {b}, {c}}, "shared again");
  ASSERT_TRUE(h_.durable(three));
  EXPECT_THAT(ids_of(h_.fetch_all(b)), ElementsAre(one, two, three));
  EXPECT_THAT(ids_of(h_.fetch_all(a)), ElementsAre(one, three));
  for (const MessageId id : {one, three}) {
    h_.store->ack(a, id);
    h_.store->ack(c, id);
  }
  h_.store->flush();
  h_.reopen();
  EXPECT_THAT(h_.fetch_all(a), IsEmpty());
  EXPECT_THAT(ids_of(h_.fetch_all(b)), ElementsAre(one, two, three));
  h_.expect_conserved();
  for (const MessageId id : {one, two, three}) h_.store->ack(b, id);
  h_.store->flush();
  const auto audit = h_.store->audit();
  ASSERT_TRUE(audit);
  EXPECT_EQ(audit->messages, 0u);
  EXPECT_EQ(audit->orphans, 0u) << "a chunk without a queue was left on disk";
}

TEST_F(MessageStoreTest, OperationsOfOneTurnAreOneGroup) {
  const QueueId queue = h_.queue("a");
  const MessageId first = h_.put_ok({{queue}}, "1");
  const GroupId record = h_.store->write("key", "value", RecordStore::OnFailure::kRetry);
  const MessageId last = h_.put_ok({{queue}}, "2");
  ASSERT_TRUE(h_.durable(last));
  ASSERT_EQ(h_.commits.size(), 1u);
  EXPECT_EQ(h_.commits[0].first, first);
  EXPECT_EQ(h_.commits[0].last, last);
  EXPECT_EQ(h_.commits[0].group, record);
}

TEST_F(MessageStoreTest, ReportsCoverEveryGroupInOrder) {
  const QueueId queue = h_.queue("a");
  h_.store->write("key", "value", RecordStore::OnFailure::kRetry);
  ASSERT_TRUE(h_.executor->run_until([&] { return !h_.commits.empty(); }));
  EXPECT_GT(h_.commits[0].first, h_.commits[0].last) << "a group without messages";
  const MessageId id = h_.put_ok({{queue}}, "1");
  ASSERT_TRUE(h_.durable(id));
  EXPECT_GT(h_.commits.back().group, h_.commits.front().group);
}

TEST_F(MessageStoreTest, ReadableIsCalledOnceForNews) {
  const QueueId queue = h_.queue("a");
  MessageId cursor;
  EXPECT_THAT(h_.fetch_all(queue, cursor), IsEmpty());
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue}}, "1")));
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue}}, "2")));
  EXPECT_THAT(h_.readable, ElementsAre(queue));
  EXPECT_THAT(Harness::bodies(h_.fetch_all(queue, cursor)), ElementsAre("1", "2"));
  h_.store->rest(queue);
  h_.readable.clear();
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue}}, "3")));
  EXPECT_THAT(h_.readable, IsEmpty());
}

TEST_F(MessageStoreTest, OldMessagesAreReadBackFromDiskInOrder) {
  h_.options().cache_bytes = 64 * 1024;
  h_.reopen();
  const QueueId queue = h_.queue("a"), other = h_.queue("b");
  std::vector<std::string> expected;
  MessageId last;
  for (int i = 0; i < 3000; ++i) {
    expected.push_back(std::to_string(i) + std::string(200, 'x'));
    last =
        i % 3 == 0 ? h_.put_ok({{queue}, {other}}, expected.back()) : h_.put_ok({{queue}}, expected.back());
    if (i % 50 == 0) h_.executor->run_ready();
  }
  ASSERT_TRUE(h_.durable(last));
  EXPECT_LE(h_.store->status().cached_bytes, 128u * 1024);
  MessageId cursor;
  std::vector<std::string> got;
  while (got.size() < expected.size()) {
    std::vector<Delivery> part;
    const FetchState state = h_.store->fetch(queue, cursor, {.max_messages = 100}, h_.now, part);
    for (const Delivery& delivery : part) {
      got.emplace_back(delivery.body);
      h_.store->ack(queue, delivery.id);
    }
    ASSERT_FALSE(state == FetchState::kDrained && part.empty()) << got.size();
    if (state != FetchState::kLoading) continue;
    h_.readable.clear();
    ASSERT_TRUE(h_.executor->run_until([&] { return !h_.readable.empty(); }));
  }
  EXPECT_EQ(got, expected);
  EXPECT_EQ(h_.store->counters(queue).queued, 0u);
  EXPECT_EQ(h_.store->counters(other).queued, 1000u);
  h_.expect_conserved();
}

TEST_F(MessageStoreTest, AcksForMessagesNoLongerInMemoryCount) {
  h_.options().cache_bytes = 1;
  h_.reopen();
  const QueueId queue = h_.queue("a");
  std::vector<MessageId> ids;
  for (int i = 0; i < 600; ++i) ids.push_back(h_.put_ok({{queue}}, std::to_string(i)));
  ASSERT_TRUE(h_.durable(ids.back()));
  const auto fetched = h_.fetch_all(queue);
  ASSERT_EQ(fetched.size(), ids.size());
  h_.store->rest(queue);
  for (const MessageId id : ids) h_.store->ack(queue, id);
  ASSERT_TRUE(h_.executor->run_until([&] {
    h_.store->tick(h_.now);
    return h_.store->counters(queue).delivered == ids.size();
  }));
  h_.expect_conserved();
  EXPECT_THAT(h_.fetch_all(queue), IsEmpty());
}

TEST_F(MessageStoreTest, AParkedSenderBlocksNobody) {
  const QueueId queue = h_.queue("a");
  MessageId last;
  for (int i = 0; i < 6; ++i) last = h_.put_ok({{queue}}, std::to_string(i), i % 2 == 0 ? 10 : 20);
  ASSERT_TRUE(h_.durable(last));
  h_.store->park(queue, 10);
  MessageId cursor;
  EXPECT_THAT(Harness::bodies(h_.fetch_all(queue, cursor)), ElementsAre("1", "3", "5"));
  EXPECT_EQ(cursor, last);
  h_.store->unpark(queue, 10);
  MessageId from_start;
  EXPECT_THAT(Harness::bodies(h_.fetch_all(queue, from_start, {.only_lane = 10})),
              ElementsAre("0", "2", "4"));
}

TEST_F(MessageStoreTest, AParkedBacklogOnDiskIsPassedOver) {
  h_.options().cache_bytes = 64 * 1024;
  h_.reopen();
  const QueueId queue = h_.queue("a");
  MessageId last;
  for (int i = 0; i < 4000; ++i) last = h_.put_ok({{queue}}, std::string(100, 'x'), i % 100 == 99 ? 20 : 10);
  ASSERT_TRUE(h_.durable(last));
  h_.store->park(queue, 10);
  EXPECT_EQ(h_.fetch_all(queue).size(), 40u);
}

TEST_F(MessageStoreTest, PurgeAndRemovalAreCountedAndReported) {
  const QueueId a = h_.queue("a"), b = h_.queue("b");
  const RouteId route = *h_.store->open_route("r1");
  MessageId last;
  for (int i = 0; i < 700; ++i) last = h_.put_ok({{a, route}, {b, route}}, std::to_string(i));
  ASSERT_TRUE(h_.durable(last));
  const MessageId unsaved = h_.put_ok({{a, route}}, "still in the open group");
  h_.store->remove_queue(a, "endpoint-removed");
  ASSERT_TRUE(h_.durable(unsaved));
  h_.expect_conserved();
  ASSERT_EQ(h_.losses.size(), 1u);
  EXPECT_EQ(h_.losses[0].reason, "endpoint-removed");
  EXPECT_EQ(h_.losses[0].route, "r1");
  EXPECT_EQ(h_.losses[0].queue, "a");
  EXPECT_EQ(h_.losses[0].count, 701u);
  EXPECT_EQ(h_.store->find_queue({QueueKind::kEndpoint, "a", 9}), std::nullopt);
  h_.store->purge(b, "purged");
  const MessageId after = h_.put_ok({{b, route}}, "after");
  ASSERT_TRUE(h_.durable(after));
  h_.reopen();
  EXPECT_THAT(Harness::bodies(h_.fetch_all(b)), ElementsAre("after"));
  h_.expect_conserved();
  EXPECT_EQ(h_.store->routes().back().counters.accepted, 1402u);
}

// Also what has not been read since the start, and what was settled before it is not in it.
TEST_F(MessageStoreTest, APurgeNamesTheRangeOfWhatWasLost) {
  const QueueId a = h_.queue("a");
  const RouteId route = *h_.store->open_route("r1");
  std::vector<MessageId> ids;
  for (int i = 0; i < 700; ++i) {
    ids.push_back(h_.put_ok({{a, route}}, std::to_string(i)));
    ASSERT_TRUE(h_.durable(ids.back()));
  }
  for (int i = 0; i < 600; ++i) h_.store->ack(a, ids[static_cast<std::size_t>(i)]);
  h_.store->flush();
  h_.reopen();
  h_.store->purge(a, "purged");
  h_.store->flush();
  h_.executor->run_ready();
  ASSERT_EQ(h_.losses.size(), 1u);
  EXPECT_EQ(h_.losses[0].count, 100u);
  EXPECT_EQ(h_.losses[0].first, ids[600]);
  EXPECT_EQ(h_.losses[0].last, ids[699]);
}

TEST_F(MessageStoreTest, AMessageWithoutARouteIsCountedAndReported) {
  const RouteId route = *h_.store->open_route("nowhere");
  const auto id = h_.store->put({"h", "b", 1}, {}, h_.now, route);
  ASSERT_TRUE(id);
  ASSERT_TRUE(h_.durable(*id));
  ASSERT_EQ(h_.losses.size(), 1u);
  EXPECT_EQ(h_.losses[0].reason, "no-route");
  EXPECT_EQ(h_.losses[0].route, "nowhere");
  h_.expect_conserved();
}

TEST_F(MessageStoreTest, RefusesWhatItCannotTake) {
  const QueueId queue = h_.queue("a");
  const QueueRef twice[] = {{queue}, {queue}};
  EXPECT_EQ(h_.store->put({"", "x", 1}, twice, h_.now).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(h_.put({{QueueId{999}}}, "x").error().code, Errc::kNotFound);
  EXPECT_EQ(h_.put({{queue, RouteId{5}}}, "x").error().code, Errc::kNotFound);
  EXPECT_EQ(h_.put({{queue}}, std::string(kMaxMessageBytes + 1, 'x')).error().code, Errc::kTooLarge);
  EXPECT_EQ(h_.store->open_queue({QueueKind::kSession, std::string(2000, 'n'), 9}).error().code,
            Errc::kTooLarge);
  EXPECT_EQ(h_.store->open_queue({QueueKind::kSession, "n", 10}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(h_.store->counters(queue), Counters{});
}

TEST_F(MessageStoreTest, DeadLettersKeepACopyWithTheReasonAndAreBounded) {
  const QueueId queue = h_.queue("a");
  std::vector<MessageId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(h_.put_ok({{queue}}, std::to_string(i)));
  ASSERT_TRUE(h_.durable(ids.back()));
  for (const MessageId id : ids) h_.store->dead_letter(queue, id, "refused-upstream");
  h_.store->flush();
  h_.reopen();
  const auto letters = h_.store->dead_letters(100);
  ASSERT_TRUE(letters);
  ASSERT_EQ(letters->size(), 16u);
  EXPECT_EQ(letters->front().body, "19");
  EXPECT_EQ(letters->front().reason, "refused-upstream");
  EXPECT_EQ(letters->back().body, "4");
  EXPECT_EQ(h_.store->counters(queue).dropped, 20u);
  h_.expect_conserved();
}

TEST_F(MessageStoreTest, FilesAreForTheirOwnerOnly) {
  const QueueId queue = h_.queue("a");
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue}}, "x")));
  for (const auto& file : std::filesystem::recursive_directory_iterator(dir_.path("store"))) {
    struct stat info {};
    ASSERT_EQ(::stat(file.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, S_ISDIR(info.st_mode) ? 0700u : 0600u) << file.path();
  }
  struct stat info {};
  ASSERT_EQ(::stat(dir_.path("store").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(MessageStoreTest, QueuesAreListedWithAgeAndCounts) {
  const QueueId queue = h_.queue("a");
  ASSERT_TRUE(h_.durable(h_.put_ok({{queue}}, "12345")));
  h_.pass(std::chrono::seconds(90));
  h_.reopen();
  const auto list = h_.store->queues(h_.now);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name.name, "a");
  EXPECT_EQ(list[0].counters.queued, 1u);
  EXPECT_EQ(list[0].counters.queued_bytes, 9u);
  EXPECT_EQ(list[0].oldest_age, std::chrono::seconds(90));
}

}  // namespace
}  // namespace decklog::persistence
