// What the hub's log hears of clients: enough to find it later, and not more than a burst is worth.
#include "services/hub/session_log.hpp"

#include <gmock/gmock.h>

#include "tests/services/hub/hub_fakes.hpp"

namespace decklog::hub::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class SessionLogTest : public testing::Test {
 protected:
  void comes() {
    EXPECT_TRUE(log_.arrived("leaf", "127.0.0.1:1", ""));
    log_.connected("leaf", true, "127.0.0.1:1");
  }
  void comes_and_goes(const char* cause) {
    comes();
    log_.gone("leaf", cause, "127.0.0.1:1");
    pass(1s);
  }
  void pass(Duration time) {
    surroundings_.pass(time);
    log_.tick();
    remarks_.tick();
  }
  std::string remark(std::size_t i) const { return std::get<Remarked>(written_.noted.at(i)).text; }

  FakeLog written_;
  FakeSurroundings surroundings_;
  Remarks remarks_{written_, surroundings_};
  HeadStats stats_;
  SessionLog log_{written_, surroundings_, remarks_, stats_};
};

TEST_F(SessionLogTest, AClientWhoseMessagesAreNotTakenIsWrittenTwiceThenCounted) {
  for (int i = 0; i < 130; ++i) comes_and_goes(i % 2 == 0 ? "publish-not-accepted" : "store-failed");
  EXPECT_EQ(written_.observed.size(), 2u * 3u);
  ASSERT_EQ(written_.noted.size(), 2u);
  EXPECT_EQ(remark(0), "came back and was cut off 58 more times: store-failed");
  // The store takes messages again: it stays.
  written_.observed.clear();
  comes();
  EXPECT_THAT(written_.observed, IsEmpty());
  pass(11s);
  EXPECT_THAT(written_.observed, ElementsAre("leaf connect ", "leaf authenticated "));
  ASSERT_EQ(written_.noted.size(), 3u);
  EXPECT_EQ(remark(2), "came back and was cut off 10 more times: store-failed");
  log_.gone("leaf", "keep-alive", "");
  EXPECT_EQ(written_.observed.back(), "leaf lost keep-alive");
  EXPECT_EQ(stats_.clients.at({"leaf"}).connects, 131u);
}

TEST_F(SessionLogTest, WhatEndsABurstIsWrittenWhole) {
  for (int i = 0; i < 4; ++i) comes_and_goes("publish-not-accepted");
  written_.observed.clear();
  comes();
  log_.gone("leaf", "disabled", "");
  EXPECT_THAT(written_.observed,
              ElementsAre("leaf connect ", "leaf authenticated ", "leaf disabled disabled"));
  ASSERT_EQ(written_.noted.size(), 1u);
  EXPECT_EQ(remark(0), "came back and was cut off 2 more times: publish-not-accepted");
}

TEST_F(SessionLogTest, TakenOverByItselfWithinABurstIsStillOneClient) {
  for (int i = 0; i < 2; ++i) comes_and_goes("publish-not-accepted");
  written_.observed.clear();
  comes();
  EXPECT_TRUE(log_.arrived("leaf", "127.0.0.1:2", ""));
  log_.gone("leaf", "taken-over", "");
  log_.connected("leaf", true, "127.0.0.1:2");
  EXPECT_THAT(written_.observed, IsEmpty());
  pass(11s);
  EXPECT_THAT(written_.observed, ElementsAre("leaf connect ", "leaf authenticated "));
}

TEST_F(SessionLogTest, AClientThatStaysAwayEndsItsBurst) {
  for (int i = 0; i < 5; ++i) comes_and_goes("store-full");
  pass(61s);
  ASSERT_EQ(written_.noted.size(), 1u);
  EXPECT_EQ(remark(0), "came back and was cut off 3 more times: store-full");
  written_.observed.clear();
  comes();
  EXPECT_THAT(written_.observed, ElementsAre("leaf connect ", "leaf authenticated "));
}

// Faster than any client that waits between its attempts: the machine must see a storm begin.
TEST_F(SessionLogTest, AStormIsNotHidden) {
  for (int i = 0; i < 100; ++i) {
    comes();
    log_.gone("leaf", "publish-not-accepted", "");
    pass(50ms);
  }
  EXPECT_GT(written_.observed.size(), 3u * 60u);
}

TEST_F(SessionLogTest, RefusalsOfAKnownIdentityAreWrittenTwiceAMinute) {
  for (int i = 0; i < 120; ++i) {
    log_.refused("leaf", true, "bad-token", "127.0.0.1:1");
    pass(1s);
  }
  EXPECT_EQ(written_.observed.size(), 2u * 2u * 2u);
  EXPECT_EQ(stats_.clients.at({"leaf"}).connects_refused, 120u);
}

TEST_F(SessionLogTest, RemarksOfABurstAreSaidOnceAndThenInASum) {
  for (int i = 0; i < 1000; ++i) remarks_.say("broker", "garbage", "garbage " + std::to_string(i));
  ASSERT_EQ(written_.noted.size(), 1u);
  EXPECT_EQ(remark(0), "garbage 0");
  pass(59s);
  EXPECT_EQ(written_.noted.size(), 1u);
  pass(1s);
  ASSERT_EQ(written_.noted.size(), 2u);
  EXPECT_EQ(remark(1), "garbage 999 (and 998 more like it before)");
  pass(61s);
  EXPECT_EQ(written_.noted.size(), 2u);
}

}  // namespace
}  // namespace decklog::hub::test
