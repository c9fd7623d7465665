#include "services/hub/loss_log.hpp"

#include "tests/services/hub/hub_fakes.hpp"

namespace decklog::hub::test {
namespace {

using namespace std::chrono_literals;

persistence::Loss loss(std::uint64_t first, std::uint64_t count, const char* reason = "no-route") {
  return {"", "(no route)", reason, count, {first}, {first + count - 1}, {}};
}

TEST(LossLogTest, TheFirstIsWrittenAtOnceTheRestInSums) {
  FakeLog log;
  LossLog losses(log);
  MonoTime now{1'000'000'000};
  for (std::uint64_t i = 1; i <= 1'000; ++i) {
    losses.add(loss(i, 1), now);
    now.ns += 20'000'000;  // fifty a second, for twenty seconds
    losses.tick(now);
  }
  losses.flush();
  ASSERT_LE(log.noted.size(), 4u);
  std::uint64_t sum = 0, next = 1;
  for (const auto& fact : log.noted) {
    const auto& dropped = std::get<MessagesDropped>(fact);
    EXPECT_EQ(dropped.first, next);
    EXPECT_EQ(dropped.last, dropped.first + dropped.count - 1);
    next = dropped.last + 1;
    sum += dropped.count;
  }
  EXPECT_EQ(sum, 1'000u);
  EXPECT_EQ(std::get<MessagesDropped>(log.noted[0]).count, 1u);
}

TEST(LossLogTest, KindsAreKeptApartAndNothingStaysBehind) {
  FakeLog log;
  LossLog losses(log);
  MonoTime now{1'000'000'000};
  losses.add(loss(1, 1), now);
  losses.add(loss(2, 5, "quota"), now);
  EXPECT_EQ(log.noted.size(), 2u);
  losses.add(loss(7, 1, "quota"), now);
  EXPECT_EQ(log.noted.size(), 2u);
  now.ns += Duration(kLossPause).count();
  losses.tick(now);
  ASSERT_EQ(log.noted.size(), 3u);
  EXPECT_EQ(std::get<MessagesDropped>(log.noted[2]).reason, "quota");
  losses.flush();
  EXPECT_EQ(log.noted.size(), 3u);
  // After a pause the next one is news again.
  now.ns += Duration(kLossPause).count();
  losses.tick(now);
  losses.add(loss(8, 1), now);
  EXPECT_EQ(log.noted.size(), 4u);
}

TEST(LossLogTest, ManyKindsAreBounded) {
  FakeLog log;
  LossLog losses(log);
  for (std::size_t i = 0; i < 3 * kMaxLossKinds; ++i) {
    const std::string reason = "r" + std::to_string(i);
    losses.add(loss(2 * i + 1, 1, reason.c_str()), MonoTime{1'000'000'000});
    losses.add(loss(2 * i + 2, 1, reason.c_str()), MonoTime{1'000'000'000});
  }
  losses.flush();
  std::uint64_t sum = 0;
  for (const auto& fact : log.noted) sum += std::get<MessagesDropped>(fact).count;
  EXPECT_EQ(sum, 6 * kMaxLossKinds);
}

}  // namespace
}  // namespace decklog::hub::test
