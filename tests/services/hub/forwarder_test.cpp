// Routing and delivery without a broker: what becomes of messages whose receiver gives them back.
#include "services/hub/forwarder.hpp"

#include "tests/services/hub/hub_fakes.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::hub::test {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr const char* kRoutes = R"json({"schemaVersion":"1.1","routes":{
  "in":"FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in1\")",
  "up":"FROM /messages/modules/other/* INTO $upstream"}})json";

class ForwarderTest : public testing::Test {
 protected:
  explicit ForwarderTest(std::uint64_t limit = 1ull << 30) {
    persistence::StoreHooks hooks;
    hooks.post = [this](std::function<void()> work) { asio::post(context_, std::move(work)); };
    hooks.committed = [this](const persistence::Committed& done) { forwarder_->on_committed(done); };
    hooks.readable = [this](persistence::QueueId queue) { forwarder_->on_readable(queue); };
    persistence::MessageStoreOptions options;
    options.directory = directory_.path("messages");
    options.max_bytes = limit;
    auto opened = persistence::MessageStore::open(options, hooks, surroundings_.boot(), surroundings_.now());
    EXPECT_TRUE(opened) << describe(opened.error());
    store_ = std::move(*opened);
    forwarder_ = std::make_unique<Forwarder>(context_.get_executor(), *store_, surroundings_, uplink_, log_,
                                             Duration::zero(), limit);
    forwarder_->attach(clients_);
    EXPECT_TRUE(forwarder_->start());
    EXPECT_EQ(forwarder_->configure(kRoutes, 1).code, 200);
  }

  void accept(const std::string& body, const std::string& module = "sensor") {
    Ingest message;
    message.sender = {"edge-1", module};
    message.body = body;
    bool stored = false;
    forwarder_->accept(std::move(message), [&](bool ok) { stored = ok; });
    EXPECT_TRUE(run_until(context_, [&] { return stored; }));
  }
  bool given(std::size_t count) {
    return run_until(context_, [&] { return clients_.given.size() >= count; });
  }
  void end(std::size_t at, bool acknowledged) {
    forwarder_->on_delivered(clients_.given.at(at).token, acknowledged);
  }
  std::string bodies(std::size_t from = 0) const {
    std::string all;
    for (std::size_t i = from; i < clients_.given.size(); ++i) all += clients_.given[i].body;
    return all;
  }
  // Whether more comes within that time.
  bool silent_for(Duration time) {
    const auto before = clients_.given.size();
    context_.restart();
    context_.run_for(time);
    return clients_.given.size() == before;
  }

  decklog::test::TempDir directory_;
  asio::io_context context_{1};
  FakeSurroundings surroundings_;
  FakeUplink uplink_{context_};
  FakeLog log_;
  FakeClients clients_;
  std::unique_ptr<Forwarder> forwarder_;
  std::unique_ptr<persistence::MessageStore> store_;
};

TEST_F(ForwarderTest, ADeliveryThatFailsAmongOthersIsOfferedAgainInOrder) {
  for (const char* body : {"1", "2", "3", "4"}) accept(body);
  ASSERT_TRUE(given(4));
  end(0, false);
  accept("5");  // while the failed one waits nothing may pass it
  EXPECT_TRUE(silent_for(3 * kOfferAgainFirst));
  end(1, true);
  end(2, false);
  end(3, true);
  ASSERT_TRUE(given(7)) << bodies();
  EXPECT_EQ(bodies(4), "135");
  for (std::size_t i = 4; i < 7; ++i) end(i, true);
  EXPECT_TRUE(run_until(context_, [&] { return store_->routes().at(1).counters.queued == 0; }));
  for (const auto& route : store_->routes()) {
    EXPECT_TRUE(route.counters.conserved()) << route.name;
    EXPECT_EQ(route.counters.dropped, 0u);
  }
}

TEST_F(ForwarderTest, AModuleThatGivesEverythingBackIsNotOfferedItWithoutEnd) {
  accept("x");
  ASSERT_TRUE(given(1));
  const auto begun = std::chrono::steady_clock::now();
  for (std::size_t round = 0; round < 4; ++round) {
    end(round, false);
    ASSERT_TRUE(given(round + 2));
  }
  // 1 + 2 + 4 + 8 times the first pause.
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 15 * kOfferAgainFirst);
  end(4, true);
  // Taken at last: the next one that fails is offered again soon.
  accept("y");
  ASSERT_TRUE(given(6));
  end(5, false);
  const auto again = std::chrono::steady_clock::now();
  ASSERT_TRUE(given(7));
  EXPECT_LT(std::chrono::steady_clock::now() - again, 15 * kOfferAgainFirst);
}

class SmallStore : public ForwarderTest {
 protected:
  SmallStore() : ForwarderTest(1ull << 20) {}
  bool taken(const std::string& module) {
    Ingest message;
    message.sender = {"edge-1", module};
    message.body.assign(50'000, 'x');
    std::optional<bool> answer;
    forwarder_->accept(std::move(message), [&](bool ok) { answer = ok; });
    EXPECT_TRUE(run_until(context_, [&] { return answer.has_value(); }));
    return answer.value_or(false);
  }
};

TEST_F(SmallStore, AFleetOutOfReachLeavesRoomForModules) {
  int upstream = 0;
  while (upstream < 100 && taken("other")) ++upstream;  // there is no link
  EXPECT_GT(upstream, 10);
  EXPECT_LT(upstream, 20);
  EXPECT_FALSE(taken("other"));
  for (std::size_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(taken("sensor")) << i;
    ASSERT_TRUE(given(i + 1));
    end(i, true);
  }
  forwarder_->on_link(true);
  EXPECT_TRUE(
      run_until(context_, [&] { return uplink_.published.size() == static_cast<std::size_t>(upstream); }));
  EXPECT_TRUE(run_until(context_, [&] { return taken("other"); }));
  for (const auto& route : store_->routes()) EXPECT_TRUE(route.counters.conserved()) << route.name;
}

TEST_F(ForwarderTest, NewsOfATwinThatNobodyAskedForIsNoLoss) {
  Ingest news;
  news.sender = {"edge-1", "sensor"};
  news.body = "{}";
  news.twin_change = true;
  bool done = false;
  forwarder_->accept(std::move(news), [&](bool ok) { done = ok; });
  EXPECT_TRUE(run_until(context_, [&] { return done; }));
  for (const auto& route : store_->routes()) EXPECT_EQ(route.counters.accepted, 0u) << route.name;
  EXPECT_EQ(forwarder_->stats().received.size(), 0u);
}

TEST_F(ForwarderTest, AModuleThatComesAnewNeedNotWait) {
  accept("x");
  ASSERT_TRUE(given(1));
  for (std::size_t round = 0; round < 3; ++round) {
    end(round, false);
    if (round == 2) break;
    ASSERT_TRUE(given(round + 2));
  }
  forwarder_->on_client_ready({"edge-1", "filter"});
  EXPECT_EQ(bodies(), "xxxx");  // at once, not in a timer's time
  end(3, true);
  EXPECT_TRUE(silent_for(10 * kOfferAgainFirst));
}

}  // namespace
}  // namespace decklog::hub::test
