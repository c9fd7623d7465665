#include "services/loop/timers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace decklog::loop {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StillSurroundings final : public Surroundings {
 public:
  Instant now() override { return time; }
  std::uint64_t random() override { return 4; }
  ClockState clock_state() override { return ClockState::kUnsynced; }
  BootId boot() override { return BootId("boot"); }
  Instant time{{1}, {1'000'000'000}};
};

class TimersTest : public testing::Test {
 protected:
  // Runs everything that is ready; what fired is in `fired_`.
  void poll() {
    context_.restart();
    context_.poll();
  }
  MonoTime in(Duration wait) { return surroundings_.time.mono + wait; }

  boost::asio::io_context context_{1};
  StillSurroundings surroundings_;
  std::vector<std::string> fired_;
  Timers timers_{context_.get_executor(), surroundings_,
                 [this](const std::string& key) { fired_.push_back(key); }};
};

TEST_F(TimersTest, DueOnesFireOnce) {
  timers_.arm("a", in(Duration::zero()));
  timers_.arm("b", in(std::chrono::hours(1)));
  poll();
  poll();
  EXPECT_THAT(fired_, ElementsAre("a"));
}

// An effect may arm a key again between the moment its timer expires and the moment that is told: the old one
// must neither be heard nor take the new one with it.
TEST_F(TimersTest, AnExpiredOneDoesNotEndItsSuccessor) {
  for (int round = 0; round < 100; ++round) {
    fired_.clear();
    boost::asio::post(context_, [&] {
      timers_.arm("uplink", in(Duration::zero()));
      // Runs when the expiry has been noticed and is not told yet.
      boost::asio::post(context_, [&] { timers_.arm("uplink", in(std::chrono::milliseconds(1))); });
    });
    poll();
    ASSERT_THAT(fired_, IsEmpty()) << round;
    surroundings_.time.mono = in(std::chrono::seconds(2));
    timers_.arm("other", in(Duration::zero()));
    poll();
    ASSERT_THAT(fired_, ElementsAre("other")) << round;
    context_.restart();
    while (fired_.size() < 2 && context_.run_one() > 0) continue;
    ASSERT_THAT(fired_, ElementsAre("other", "uplink")) << round;
  }
}

TEST_F(TimersTest, AnExpiredOneThatIsCancelledIsNotHeard) {
  for (int round = 0; round < 100; ++round) {
    boost::asio::post(context_, [&] {
      timers_.arm("uplink", in(Duration::zero()));
      boost::asio::post(context_, [&] { timers_.cancel("uplink"); });
    });
    poll();
    ASSERT_THAT(fired_, IsEmpty()) << round;
  }
}

}  // namespace
}  // namespace decklog::loop
