// Sessions, retained messages, twins and identities over a real store.
#include <gmock/gmock.h>

#include "persistence/identity_store.hpp"
#include "persistence/session_store.hpp"
#include "persistence/tally_store.hpp"
#include "persistence/twin_store.hpp"
#include "tests/persistence_stores/store_fixture.hpp"

namespace decklog::persistence {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// Not a cipher: shows that values pass through the caller's functions and are bound to their key.
Sealer test_sealer(char secret) {
  const auto turn = [secret](std::string_view text) {
    std::string out(text);
    for (char& c : out) c = static_cast<char>(c ^ secret);
    return out;
  };
  return {[turn](std::string_view aad, std::string_view plain) {
            return turn(std::string(aad) + "|" + std::string(plain));
          },
          [turn](std::string_view aad, std::string_view sealed) -> Result<std::string> {
            const std::string plain = turn(sealed);
            const std::string prefix = std::string(aad) + "|";
            if (!plain.starts_with(prefix)) return error(Errc::kCorrupt, "wrong key");
            return plain.substr(prefix.size());
          }};
}

class StoresTest : public testing::Test {
 protected:
  void open_sessions(const SessionLimits& limits = {}) {
    auto opened = SessionStore::open(*h_.store, limits);
    ASSERT_TRUE(opened) << describe(opened.error());
    sessions_ = std::move(*opened);
  }
  void restart() {
    h_.store->flush();
    sessions_.reset();
    h_.reopen();
    open_sessions();
  }
  std::vector<std::string> subscriptions() {
    std::vector<std::string> out;
    EXPECT_TRUE(
        sessions_->for_each_subscription([&](std::string_view id, std::string_view filter, std::uint8_t qos) {
          out.push_back(std::string(id) + " " + std::string(filter) + " " + std::to_string(qos));
        }));
    return out;
  }

  TempDir dir_;
  Harness h_{dir_.path("store")};
  std::unique_ptr<SessionStore> sessions_;
};

TEST_F(StoresTest, SessionsComeBackWhole) {
  open_sessions();
  ASSERT_TRUE(sessions_->create("dev/mod", "dev/mod", {77}));
  ASSERT_TRUE(sessions_->create("dev/mod2", "other", {78}));
  ASSERT_TRUE(sessions_->subscribe("dev/mod", "a/+/#", 1));
  ASSERT_TRUE(sessions_->subscribe("dev/mod", "a/+/#", 2));
  ASSERT_TRUE(sessions_->subscribe("dev/mod", "b", 0));
  ASSERT_TRUE(sessions_->subscribe("dev/mod2", "b", 1));
  sessions_->unsubscribe("dev/mod", "b");
  sessions_->add_incoming("dev/mod", 7);
  sessions_->add_incoming("dev/mod", 8);
  sessions_->remove_incoming("dev/mod", 8);
  sessions_->add_release("dev/mod", 65535);
  restart();
  const SessionRecord* session = sessions_->find("dev/mod");
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(session->owner, "dev/mod");
  EXPECT_EQ(session->last_seen.ns, 77);
  EXPECT_THAT(session->incoming, ElementsAre(7));
  EXPECT_THAT(session->releases, ElementsAre(65535));
  EXPECT_TRUE(sessions_->has_incoming("dev/mod", 7));
  EXPECT_THAT(subscriptions(), UnorderedElementsAre("dev/mod a/+/# 2", "dev/mod2 b 1"));
  EXPECT_EQ(sessions_->size(), 2u);
}

TEST_F(StoresTest, RemovingASessionLeavesNothingAndTouchesNoOther) {
  open_sessions();
  ASSERT_TRUE(sessions_->create("a", "a", {1}));
  ASSERT_TRUE(sessions_->create("ab", "ab", {1}));
  ASSERT_TRUE(sessions_->subscribe("a", "x", 1));
  ASSERT_TRUE(sessions_->subscribe("ab", "y", 1));
  sessions_->add_incoming("a", 1);
  sessions_->add_release("a", 2);
  sessions_->remove("a");
  restart();
  EXPECT_EQ(sessions_->find("a"), nullptr);
  ASSERT_NE(sessions_->find("ab"), nullptr);
  EXPECT_THAT(subscriptions(), ElementsAre("ab y 1"));
  // A new session of that name begins empty.
  ASSERT_TRUE(sessions_->create("a", "a", {2}));
  restart();
  EXPECT_THAT(sessions_->find("a")->incoming, IsEmpty());
}

TEST_F(StoresTest, BoundsAreKept) {
  open_sessions({.max_retained = 2, .max_retained_bytes = 100});
  ASSERT_TRUE(sessions_->create("a", "a", {1}));
  for (std::size_t i = 0; i < kMaxSubscriptionsPerSession; ++i) {
    ASSERT_TRUE(sessions_->subscribe("a", "f" + std::to_string(i), 1));
  }
  EXPECT_EQ(sessions_->subscribe("a", "one more", 1).error().code, Errc::kNoSpace);
  EXPECT_TRUE(sessions_->subscribe("a", "f3", 2)) << "a replacement is no new one";
  EXPECT_EQ(sessions_->subscribe("nobody", "x", 1).error().code, Errc::kNotFound);
  EXPECT_EQ(sessions_->create(std::string(2000, 'c'), "a", {1}).error().code, Errc::kTooLarge);
  EXPECT_TRUE(sessions_->set_retained({"t1", 1, "b", ""}));
  EXPECT_TRUE(sessions_->set_retained({"t2", 1, "b", ""}));
  EXPECT_EQ(sessions_->set_retained({"t3", 1, "b", ""}).error().code, Errc::kNoSpace);
  EXPECT_EQ(sessions_->set_retained({"t2", 1, std::string(200, 'b'), ""}).error().code, Errc::kNoSpace);
  EXPECT_TRUE(sessions_->set_retained({"t2", 1, "", ""}));
  EXPECT_TRUE(sessions_->set_retained({"t3", 1, "b", ""}));
}

TEST_F(StoresTest, RetainedMessagesComeBack) {
  open_sessions();
  ASSERT_TRUE(sessions_->set_retained({"t/1", 1, "body", "head"}));
  ASSERT_TRUE(sessions_->set_retained({"t/2", 0, "gone", ""}));
  ASSERT_TRUE(sessions_->set_retained({"t/2", 0, "", ""}));
  restart();
  ASSERT_EQ(sessions_->all_retained().size(), 1u);
  const RetainedMessage* kept = sessions_->retained("t/1");
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(kept->body, "body");
  EXPECT_EQ(kept->head, "head");
  EXPECT_EQ(kept->qos, 1);
}

TEST(PacketId, IsDistinctWithinAWindowAndNeverZero) {
  std::vector<bool> seen(65'536);
  for (std::uint64_t i = 1'000'000; i < 1'000'000 + 65'535; ++i) {
    const std::uint16_t id = packet_id_for({i});
    ASSERT_NE(id, 0);
    ASSERT_FALSE(seen[id]);
    seen[id] = true;
  }
}

TEST_F(StoresTest, TwinsAreSealedAndComeBack) {
  const TwinName name{"dev", "mod"};
  const TwinRecord twin{R"({"a":1})", 5, R"({"b":2})", 6, R"({"b":null})", 5, {1'000}};
  {
    auto twins = TwinStore::open(*h_.store, test_sealer(1));
    ASSERT_TRUE(twins);
    ASSERT_TRUE((*twins)->put(name, twin));
    ASSERT_TRUE((*twins)->put({"dev", ""}, {.desired = "{}"}));
    EXPECT_EQ((*twins)->put(name, {.desired = std::string(kMaxTwinBytes + 1, 'x')}).error().code,
              Errc::kTooLarge);
    h_.store->flush();
  }
  bool plain_on_disk = false;
  ASSERT_TRUE(h_.store->scan("", [&](std::string_view, std::string_view value) {
    plain_on_disk = plain_on_disk || value.find("\"a\"") != std::string_view::npos;
  }));
  EXPECT_FALSE(plain_on_disk);
  h_.reopen();
  auto twins = TwinStore::open(*h_.store, test_sealer(1));
  ASSERT_TRUE(twins);
  ASSERT_NE((*twins)->find(name), nullptr);
  EXPECT_EQ(*(*twins)->find(name), twin);
  EXPECT_THAT((*twins)->with_pending_patch(), ElementsAre(name));
  EXPECT_EQ(age_of(twin, {5'000}), Duration(4'000));
  EXPECT_EQ(age_of(twin, {0}), Duration(0));
  (*twins)->remove(name);
  EXPECT_EQ((*twins)->find(name), nullptr);
  // Another key: nothing opens, and that is said.
  const auto foreign = TwinStore::open(*h_.store, test_sealer(2));
  ASSERT_TRUE(foreign);
  EXPECT_THAT((*foreign)->all(), IsEmpty());
  EXPECT_EQ((*foreign)->unreadable().size(), 2u);
  EXPECT_FALSE(TwinStore::open(*h_.store, {}));
}

TEST_F(StoresTest, IdentitiesKeepTheNewestRevision) {
  auto identities = IdentityStore::open(*h_.store, test_sealer(1));
  ASSERT_TRUE(identities);
  ASSERT_TRUE((*identities)->put("dev/mod", {R"({"status":"enabled"})", 4, {9}}));
  EXPECT_EQ((*identities)->put("dev/mod", {"{}", 3, {10}}).error().code, Errc::kConflict);
  EXPECT_EQ((*identities)->put("dev", {std::string(kMaxIdentityBytes + 1, 'x'), 3, {10}}).error().code,
            Errc::kTooLarge);
  ASSERT_TRUE((*identities)->put("gone", {"{}", 1, {1}}));
  (*identities)->remove("gone");
  h_.store->flush();
  h_.reopen();
  identities = IdentityStore::open(*h_.store, test_sealer(1));
  ASSERT_TRUE(identities);
  EXPECT_THAT((*identities)->all(), ElementsAre("dev/mod"));
  EXPECT_EQ((*identities)->find("dev/mod")->revision, 4u);
  EXPECT_THAT((*identities)->unreadable(), IsEmpty());
}

TEST_F(StoresTest, TriesAreCountedOverRestarts) {
  auto tries = TallyStore::open(*h_.store, TallyKind::kTries);
  ASSERT_TRUE(tries);
  (*tries)->add("leaf\nm-1");
  (*tries)->add("leaf\nm-1");
  (*tries)->add("leaf\nm-2");
  (*tries)->add(std::string(kMaxNameBytes + 1, 'x'));  // not counted
  EXPECT_EQ((*tries)->size(), 2u);
  restart();
  tries = TallyStore::open(*h_.store, TallyKind::kTries);
  ASSERT_TRUE(tries);
  EXPECT_EQ((*tries)->count("leaf\nm-1"), 2u);
  EXPECT_EQ((*tries)->count("leaf\nm-2"), 1u);
  EXPECT_EQ((*tries)->count("leaf"), 0u);
  (*tries)->add("leaf\nm-1");
  (*tries)->forget("leaf\nm-2");
  (*tries)->forget("leaf\nm-2");
  restart();
  tries = TallyStore::open(*h_.store, TallyKind::kTries);
  ASSERT_TRUE(tries);
  EXPECT_EQ((*tries)->count("leaf\nm-1"), 3u);
  EXPECT_EQ((*tries)->size(), 1u);
}

TEST_F(StoresTest, TooManyTriesForgetTheOldest) {
  auto tries = TallyStore::open(*h_.store, TallyKind::kTries);
  ASSERT_TRUE(tries);
  for (std::size_t i = 0; i < kMaxTallies; ++i) (*tries)->add("m-" + std::to_string(i));
  (*tries)->add("m-0");  // now m-1 is the oldest
  (*tries)->add("one more");
  const auto checked = [&] {
    EXPECT_EQ((*tries)->size(), kMaxTallies);
    EXPECT_EQ((*tries)->count("m-0"), 2u);
    EXPECT_EQ((*tries)->count("m-1"), 0u);
    EXPECT_EQ((*tries)->count("one more"), 1u);
  };
  checked();
  restart();
  tries = TallyStore::open(*h_.store, TallyKind::kTries);
  ASSERT_TRUE(tries);
  checked();
}

}  // namespace
}  // namespace decklog::persistence
