// Random histories against a simple model: what was put, settled, purged, crashed and reopened.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

#include "tests/persistence_stores/store_fixture.hpp"

namespace decklog::persistence {
namespace {

enum class Step { kPut, kFetchAndAck, kDrop, kPurge, kCommit, kReopen, kRest };

struct Model {
  // Per queue: what waits, in order, by id.
  std::vector<std::map<std::uint64_t, std::string>> queues;
  std::vector<Counters> counters;
};

constexpr std::size_t kQueues = 3;

class History {
 public:
  explicit History(std::size_t cache_bytes)
      : h_(dir_.path("store"), MessageStoreOptions{.cache_bytes = cache_bytes}) {
    model_.queues.resize(kQueues);
    model_.counters.resize(kQueues);
    for (std::size_t i = 0; i < kQueues; ++i) ids_.push_back(h_.queue("q" + std::to_string(i)));
  }

  void run(Step step) {
    switch (step) {
      case Step::kPut:
        return put();
      case Step::kFetchAndAck:
        return fetch_and_ack();
      case Step::kDrop:
        return settle_some_known(true);
      case Step::kPurge:
        return purge();
      case Step::kCommit:
        h_.store->flush();
        h_.executor->run_ready();
        return;
      case Step::kReopen:
        h_.store->flush();
        h_.executor->run_ready();
        h_.reopen();
        return compare();
      case Step::kRest:
        return h_.store->rest(ids_[pick_queue()]);
    }
  }

  void compare() {
    h_.store->flush();
    h_.executor->run_ready();
    for (std::size_t i = 0; i < kQueues; ++i) {
      std::map<std::uint64_t, std::string> got;
      std::uint64_t last = 0;
      for (const Delivery& delivery : h_.fetch_all(ids_[i])) {
        RC_ASSERT(delivery.id.value > last);
        last = delivery.id.value;
        got[last] = std::string(delivery.body);
      }
      RC_ASSERT(got == model_.queues[i]);
      Counters counters = h_.store->counters(ids_[i]);
      counters.queued_bytes = 0;
      Counters expected = model_.counters[i];
      expected.queued = model_.queues[i].size();
      RC_ASSERT(counters == expected);
    }
    const auto audit = h_.store->audit();
    RC_ASSERT(audit.has_value());
    for (const std::string& problem : audit->problems) RC_FAIL(problem);
    RC_ASSERT(audit->orphans == 0u);
    h_.executor->run_ready();
  }

 private:
  std::size_t pick_queue() { return *rc::gen::inRange<std::size_t>(0, kQueues); }

  void put() {
    const int count = *rc::gen::inRange(1, 40);
    for (int n = 0; n < count; ++n) {
      const std::size_t mask = *rc::gen::inRange<std::size_t>(1, 1u << kQueues);
      std::vector<QueueRef> refs;
      for (std::size_t i = 0; i < kQueues; ++i) {
        if ((mask >> i & 1) != 0) refs.push_back({ids_[i]});
      }
      const std::string body =
          "body" + std::to_string(number_++) + std::string(*rc::gen::inRange(0, 900), 'b');
      const MessageId id = h_.put_ok(refs, body);
      for (std::size_t i = 0; i < kQueues; ++i) {
        if ((mask >> i & 1) == 0) continue;
        model_.queues[i][id.value] = body;
        ++model_.counters[i].accepted;
      }
    }
  }

  void fetch_and_ack() {
    const std::size_t i = pick_queue();
    std::vector<Delivery> got;
    MessageId cursor{*rc::gen::inRange<std::uint64_t>(0, 200)};
    const std::size_t max = *rc::gen::inRange<std::size_t>(1, 60);
    if (h_.store->fetch(ids_[i], cursor, {.max_messages = max}, h_.now, got) == FetchState::kLoading) {
      h_.readable.clear();
      RC_ASSERT(h_.executor->run_until([&] { return !h_.readable.empty(); }));
      return;
    }
    for (const Delivery& delivery : got) {
      if (*rc::gen::inRange(0, 4) == 0) continue;
      h_.store->ack(ids_[i], delivery.id);
      RC_ASSERT(model_.queues[i].erase(delivery.id.value) == 1u);
      ++model_.counters[i].delivered;
    }
  }

  // Settles durable messages by id, also such as are no longer in memory.
  void settle_some_known(bool drop) {
    const std::size_t i = pick_queue();
    h_.store->flush();
    h_.executor->run_ready();
    std::vector<std::uint64_t> some;
    for (const auto& [id, body] : model_.queues[i]) {
      if (*rc::gen::inRange(0, 3) == 0) some.push_back(id);
    }
    for (const std::uint64_t id : some) {
      drop ? h_.store->drop(ids_[i], {id}, "test") : h_.store->ack(ids_[i], MessageId{id});
      model_.queues[i].erase(id);
      ++model_.counters[i].dropped;
    }
    RC_ASSERT(h_.executor->run_until([&] {
      h_.store->tick(h_.now);
      return h_.store->counters(ids_[i]).dropped == model_.counters[i].dropped;
    }));
  }

  void purge() {
    const std::size_t i = pick_queue();
    h_.store->purge(ids_[i], "purged");
    model_.counters[i].dropped += model_.queues[i].size();
    model_.queues[i].clear();
  }

  TempDir dir_;
  Harness h_;
  Model model_;
  std::vector<QueueId> ids_;
  int number_ = 0;
};

TEST(MessageStoreModel, BehavesLikeTheModel) {
  rc::check([] {
    const std::size_t cache = *rc::gen::element<std::size_t>(1, 16 * 1024, 4 * 1024 * 1024);
    const auto steps =
        *rc::gen::container<std::vector<Step>>(rc::gen::weightedElement<Step>({{6, Step::kPut},
                                                                               {6, Step::kFetchAndAck},
                                                                               {1, Step::kDrop},
                                                                               {1, Step::kPurge},
                                                                               {3, Step::kCommit},
                                                                               {2, Step::kReopen},
                                                                               {1, Step::kRest}}));
    History history(cache);
    for (const Step step : steps) history.run(step);
    history.compare();
  });
}

}  // namespace
}  // namespace decklog::persistence
