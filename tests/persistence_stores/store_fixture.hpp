// A message store with an executor that the test runs by hand: posted work waits until the test lets it run.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "persistence/message_store.hpp"
#include "tests/support/hand_executor.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::persistence {

using test::HandExecutor;
using test::TempDir;

inline constexpr std::chrono::seconds kDeadline{30};
inline const BootId kBoot{"11111111-1111-1111-1111-111111111111"};

// One store in one directory that can be closed and opened again.
class Harness {
 public:
  explicit Harness(std::string directory, MessageStoreOptions options = {}) : options_(std::move(options)) {
    options_.directory = std::move(directory);
    // Most tests are not about power cuts; those that are set it.
    if (options_.max_dead_letters == MessageStoreOptions{}.max_dead_letters) options_.max_dead_letters = 16;
    open();
  }
  void open(const BootId& boot = kBoot) {
    executor = std::make_unique<HandExecutor>();
    HandExecutor* const queue = executor.get();
    StoreHooks hooks;
    hooks.post = [queue](std::function<void()> work) { queue->post(std::move(work)); };
    hooks.committed = [this](const Committed& done) { commits.push_back(done); };
    hooks.readable = [this](QueueId id) { readable.push_back(id); };
    hooks.lost = [this](const Loss& loss) { losses.push_back(loss); };
    hooks.trouble = [this](const StoreTrouble& trouble) { troubles.push_back(trouble); };
    auto opened = MessageStore::open(options_, std::move(hooks), boot, now);
    ASSERT_TRUE(opened) << describe(opened.error());
    store = std::move(*opened);
  }
  void close() { store.reset(); }
  void reopen(const BootId& boot = kBoot) {
    close();
    commits.clear();
    open(boot);
  }
  MessageStoreOptions& options() { return options_; }

  QueueId queue(const std::string& name, const QueueLimits& limits = {}, std::uint8_t priority = 9) {
    const auto opened = store->open_queue({QueueKind::kEndpoint, name, priority}, limits);
    EXPECT_TRUE(opened);
    return *opened;
  }
  Result<MessageId> put(const std::vector<QueueRef>& refs, std::string_view body, std::uint64_t lane = 1) {
    return store->put({"head", body, lane}, refs, now);
  }
  MessageId put_ok(const std::vector<QueueRef>& refs, std::string_view body, std::uint64_t lane = 1) {
    const auto id = put(refs, body, lane);
    EXPECT_TRUE(id) << describe(id.error());
    return id ? *id : MessageId{};
  }
  bool durable(MessageId id) {
    return executor->run_until([&] { return !commits.empty() && last_decided() >= id; });
  }
  MessageId last_decided() const {
    MessageId last;
    for (const Committed& done : commits) {
      if (done.first <= done.last) last = std::max(last, done.last);
    }
    return last;
  }
  // Everything from the cursor on, loading as often as needed.
  std::vector<Delivery> fetch_all(QueueId id, MessageId& cursor, FetchLimits limits = {}) {
    std::vector<Delivery> out;
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    for (;;) {
      std::vector<Delivery> part;
      const FetchState state = store->fetch(id, cursor, limits, now, part);
      out.insert(out.end(), part.begin(), part.end());
      if (state == FetchState::kDrained) return out;
      if (state == FetchState::kLoading) {
        readable.clear();
        EXPECT_TRUE(executor->run_until([&] { return !readable.empty(); }));
      }
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "fetch makes no progress";
        return out;
      }
    }
  }
  std::vector<Delivery> fetch_all(QueueId id) {
    MessageId cursor;
    return fetch_all(id, cursor);
  }
  static std::vector<std::string> bodies(const std::vector<Delivery>& deliveries) {
    std::vector<std::string> out;
    for (const Delivery& delivery : deliveries) out.emplace_back(delivery.body);
    return out;
  }
  void expect_conserved() {
    executor->run_ready();
    const auto audit = store->audit();
    ASSERT_TRUE(audit) << describe(audit.error());
    for (const std::string& problem : audit->problems) ADD_FAILURE() << problem;
    EXPECT_EQ(audit->orphans, 0u);
    for (const QueueStatus& status : store->queues(now))
      EXPECT_TRUE(status.counters.conserved()) << status.name.name;
    for (const RouteStatus& status : store->routes()) EXPECT_TRUE(status.counters.conserved()) << status.name;
    executor->run_ready();
  }
  void pass(Duration time) {
    now.wall.ns += time.count();
    now.mono.ns += time.count();
  }

  Instant now{{1'800'000'000'000'000'000}, {1'000'000'000'000}};
  std::unique_ptr<HandExecutor> executor;
  std::vector<Committed> commits;
  std::vector<QueueId> readable;
  std::vector<Loss> losses;
  std::vector<StoreTrouble> troubles;
  std::unique_ptr<MessageStore> store;

 private:
  MessageStoreOptions options_;
};

}  // namespace decklog::persistence
