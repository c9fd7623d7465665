#include "services/broker/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

namespace decklog::broker {
namespace {

struct Entry final : WheelEntry {};

TEST(TimerWheel, FiresEachEntryOnceAtItsTick) {
  TimerWheel wheel;
  std::map<WheelEntry*, std::int64_t> due;
  std::vector<std::unique_ptr<Entry>> entries;
  for (std::int64_t deadline = 1; deadline <= 1000; deadline += 7) {
    entries.push_back(std::make_unique<Entry>());
    due[entries.back().get()] = deadline;
    wheel.arm(*entries.back(), deadline);
  }
  std::size_t fired = 0;
  for (std::int64_t tick = 1; tick <= 1100; ++tick) {
    wheel.advance(tick, [&](WheelEntry& entry) {
      EXPECT_EQ(due.at(&entry), tick);
      ++fired;
    });
  }
  EXPECT_EQ(fired, entries.size());
}

TEST(TimerWheel, LongPauseFiresEverythingOverdue) {
  TimerWheel wheel;
  Entry near, far, later;
  wheel.arm(near, 3);
  wheel.arm(far, 5000);
  wheel.arm(later, 50'000);
  std::vector<WheelEntry*> fired;
  wheel.advance(10'000, [&](WheelEntry& entry) { fired.push_back(&entry); });
  EXPECT_EQ(fired.size(), 2u);
  EXPECT_TRUE(later.armed());
}

TEST(TimerWheel, CallbackMayCancelAndArmOthers) {
  TimerWheel wheel;
  Entry a, b, c;
  wheel.arm(a, 2);
  wheel.arm(b, 2);
  int fired = 0;
  wheel.advance(2, [&](WheelEntry& entry) {
    ++fired;
    wheel.cancel(&entry == &a ? b : a);
    wheel.arm(c, 1);  // already past: the next tick
  });
  EXPECT_EQ(fired, 1);
  wheel.advance(3, [&](WheelEntry& entry) {
    EXPECT_EQ(&entry, &c);
    ++fired;
  });
  EXPECT_EQ(fired, 2);
}

TEST(TimerWheel, DestroyedEntryIsGone) {
  TimerWheel wheel;
  {
    Entry gone;
    wheel.arm(gone, 2);
  }
  wheel.advance(5, [&](WheelEntry&) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace decklog::broker
