// The hub's core over a journal in memory: clients' records, and a log that does not grow when nothing
// happens.
#include "services/hub/core.hpp"

#include <boost/asio/steady_timer.hpp>

#include "persistence/memory_journal.hpp"
#include "services/hub/link.hpp"
#include "services/hub/reported_clients.hpp"
#include "tests/services/hub/hub_fakes.hpp"

namespace decklog::hub::test {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Inputs by hand, each a second after the one before.
struct Desk {
  HubCore core, folded;  // the second from the log alone
  Envelope input;
  std::vector<Envelope> decisions;

  void observe(const std::string& client, const char* observation, const char* detail = "") {
    feed(ClientObserved{client, observation, "", "127.0.0.1:1", detail});
  }
  void feed(Fact fact) {
    input.sequence = decisions.empty() ? input.sequence.next() : decisions.back().sequence.next();
    input.time.wall.ns += 1'000'000'000;
    input.time.mono.ns += 1'000'000'000;
    input.fact = std::move(fact);
    decisions = core.take(input);
    folded.fold(input);
    for (const auto& decision : decisions) folded.fold(decision);
  }
  void connect(const std::string& client, const char* kind = "persistent") {
    observe(client, "connect");
    observe(client, "authenticated", kind);
  }
  ClientState state(const std::string& client) const {
    const auto found = core.state().clients.find(client);
    return found == core.state().clients.end() ? ClientState::kClosed : found->second.life.state;
  }
};

TEST(HubCoreTest, ASuccessorThatDiesBeforeItsConnackIsNoGhost) {
  Desk desk;
  desk.connect("edge-1/sensor");
  desk.observe("edge-1/sensor", "connect");
  desk.observe("edge-1/sensor", "taken-over");
  EXPECT_EQ(desk.state("edge-1/sensor"), ClientState::kTakenOver);
  desk.observe("edge-1/sensor", "lost");
  EXPECT_EQ(desk.state("edge-1/sensor"), ClientState::kSuspended);
}

TEST(HubCoreTest, RecordsAreBoundedAndTheOldestThatAreGoneAreForgotten) {
  Desk desk;
  desk.connect("there");
  for (std::size_t i = 0; i < kMaxClientRecords - 1; ++i) {
    const std::string client = "leaf-" + std::to_string(i);
    desk.connect(client);
    desk.observe(client, "disconnect");
  }
  EXPECT_EQ(desk.core.state().clients.size(), kMaxClientRecords);
  desk.observe("one-more", "connect");
  EXPECT_EQ(desk.core.state().clients.size(), kMaxClientRecords + 1 - kForgottenAtOnce);
  EXPECT_EQ(desk.state("there"), ClientState::kConnected);
  EXPECT_EQ(desk.state("one-more"), ClientState::kAuthenticating);
  EXPECT_EQ(desk.state("leaf-0"), ClientState::kClosed);
  EXPECT_EQ(desk.state("leaf-" + std::to_string(kForgottenAtOnce - 1)), ClientState::kClosed);
  EXPECT_EQ(desk.state("leaf-" + std::to_string(kForgottenAtOnce)), ClientState::kSuspended);
  // Each of them by an event, so that a fold of the log comes to the same.
  ASSERT_EQ(desk.decisions.size(), kForgottenAtOnce + 1);
  for (std::size_t i = 1; i < desk.decisions.size(); ++i) {
    const auto& gone = std::get<ClientTransitioned>(desk.decisions[i].fact);
    EXPECT_EQ(gone.cause, "record-limit");
    EXPECT_EQ(gone.to, ClientState::kClosed);
  }
  EXPECT_EQ(desk.folded.snapshot(), desk.core.snapshot());
  // Who comes back is a new record.
  desk.connect("leaf-0");
  EXPECT_EQ(desk.state("leaf-0"), ClientState::kConnected);
}

TEST(ReportedClients, AreIdentitiesOnlyConnectedOnesFirstAndNotTooMany) {
  std::map<std::string, ClientRecord> records;
  const auto add = [&](const std::string& name, ClientState state, std::int64_t changed) {
    records[name].life.state = state;
    records[name].changed.ns = changed * 1'000'000'000;
  };
  add("user:panel/phone", ClientState::kConnected, 50'000);
  add("anonymous/x", ClientState::kConnected, 50'000);
  add("edge-1/sen.sor", ClientState::kConnected, 1);
  for (int i = 0; i < 1'000; ++i) add("leaf-" + std::to_string(i), ClientState::kSuspended, 100 + i);
  const auto clients = reported_clients(records);
  EXPECT_EQ(clients.size(), 200u);
  EXPECT_LT(boost::json::serialize(clients).size(), 28u * 1024);
  ASSERT_TRUE(clients.contains("edge-1/sen%2Esor"));
  EXPECT_EQ(clients.at("edge-1/sen%2Esor").at("status"), "Connected");
  EXPECT_TRUE(clients.contains("leaf-999"));
  EXPECT_FALSE(clients.contains("leaf-0"));
  for (const auto& member : clients) EXPECT_EQ(std::string(member.key()).find("user:"), std::string::npos);
}

// A fleet that answers pings as long as it is told to.
class PingUplink final : public FakeUplink {
 public:
  using FakeUplink::FakeUplink;
  void ping(Duration, uplink::Callback<void> done) override {
    ++pings;
    asio::post(context,
               [this, done] { done(answers ? Status{} : Status{error(Errc::kTimeout, "no answer")}); });
  }
  int pings = 0;
  bool answers = true;
};

class IdleLink : public testing::Test {
 protected:
  IdleLink() {
    HubState settings;
    settings.uplink_settings.ping_every = 20ms;
    settings.uplink_settings.stable_after = 1h;
    ServiceStarted started;
    started.device = "edge-1";
    started.settings = settings_json(settings);
    loop_.on_release([this](const Envelope& event) {
      if (const auto* decided = std::get_if<UplinkTransitioned>(&event.fact)) link_.carry_out(*decided);
    });
    loop_.submit(std::move(started));
    loop_.submit(LinkObserved{1, 0, ""});
    EXPECT_TRUE(run_until(context_, [&] { return link_.up(); }));
  }
  UplinkState state() const { return core_.state().uplink.state; }

  asio::io_context context_{1};
  loop::SystemSurroundings surroundings_;
  persistence::MemoryJournal journal_;
  HubCore core_;
  loop::ServiceLoop loop_{context_.get_executor(), journal_, core_, surroundings_, {}};
  PingUplink uplink_{context_};
  loop::Timers timers_{context_.get_executor(), surroundings_,
                       [this](const std::string&) { link_.on_timer(); }};
  HubLink link_{context_.get_executor(),
                loop_,
                core_.state(),
                timers_,
                uplink_,
                "edge-1",
                {[](bool) {}, [] { return std::string(); }}};
};

TEST_F(IdleLink, PingsThatAreAnsweredAddNothingToTheLog) {
  const auto before = journal_.durable_sequence();
  ASSERT_TRUE(run_until(context_, [&] { return uplink_.pings >= 20; }));
  EXPECT_EQ(journal_.durable_sequence(), before);
  EXPECT_EQ(state(), UplinkState::kConnected);
}

TEST_F(IdleLink, ThePingThatIsMissedIsWrittenAndTheLinkRecovers) {
  ASSERT_TRUE(run_until(context_, [&] { return uplink_.pings >= 3; }));
  const auto before = journal_.durable_sequence();
  uplink_.answers = false;
  ASSERT_TRUE(run_until(context_, [&] { return state() == UplinkState::kSuspect; }));
  EXPECT_GT(journal_.durable_sequence(), before);
  uplink_.answers = true;
  ASSERT_TRUE(run_until(context_, [&] { return state() == UplinkState::kConnected; }));
  const auto well = journal_.durable_sequence();
  const int pings = uplink_.pings;
  ASSERT_TRUE(run_until(context_, [&] { return uplink_.pings >= pings + 10; }));
  EXPECT_LE(journal_.durable_sequence().value, well.value + 2);  // an answer under way when it recovered
  uplink_.answers = false;
  EXPECT_TRUE(run_until(context_, [&] { return state() == UplinkState::kBackingOff; }));
}

}  // namespace
}  // namespace decklog::hub::test
