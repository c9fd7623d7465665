#include "services/hub/loss_log.hpp"

#include "tests/persistence_stores/store_fixture.hpp"
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

// A log's run and the next ones over one store of counts.
class LossesOverRuns : public testing::Test {
 protected:
  struct Run {
    explicit Run(persistence::Harness& store)
        : told(std::move(*persistence::TallyStore::open(*store.store, persistence::TallyKind::kTold))),
          losses(log) {
      losses.remember_in(*told);
    }
    FakeLog log;
    std::unique_ptr<persistence::TallyStore> told;
    LossLog losses;
  };
  static std::vector<persistence::RouteStatus> counted(std::uint64_t no_route, std::uint64_t expired) {
    persistence::RouteStatus status;
    status.name = "(no route)";
    status.counters.expired = expired;
    status.dropped = {{"no-route", no_route}, {"damaged", 7}};
    return {status};
  }
  persistence::TempDir dir_;
  persistence::Harness store_{dir_.path("store")};
  MonoTime now_{1'000'000'000};
};

TEST_F(LossesOverRuns, WhatACrashKeptBackIsToldFromTheCounters) {
  {
    Run run(store_);
    run.losses.compare(counted(100, 4));  // from before anything was remembered
    EXPECT_TRUE(run.log.noted.empty());
    run.losses.add(loss(101, 1), now_);
    run.losses.add(loss(102, 5), now_);  // waits, and is gone with the process
    EXPECT_EQ(run.log.noted.size(), 1u);
  }
  store_.store->flush();
  store_.reopen();
  {
    Run run(store_);
    run.losses.add(loss(107, 1), now_);  // of this run, told
    run.losses.add(loss(108, 2), now_);  // of this run, waits
    run.losses.compare(counted(109, 4));
    ASSERT_EQ(run.log.noted.size(), 2u);
    const auto& told = std::get<MessagesDropped>(run.log.noted[1]);
    EXPECT_EQ(told, (MessagesDropped{"(no route)", "", "no-route", 5, 0, 0}));
    run.losses.flush();
  }
  store_.store->flush();
  store_.reopen();
  Run run(store_);
  run.losses.compare(counted(109, 4));
  EXPECT_TRUE(run.log.noted.empty());
}

}  // namespace
}  // namespace decklog::hub::test
