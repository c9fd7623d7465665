#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {

void TestPolicy::note(std::string line) {
  const std::lock_guard lock(mutex_);
  log_.push_back(std::move(line));
  changed_.notify_all();
}

bool TestPolicy::wait_for(const std::string& line, int deadline_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(deadline_ms), [&] {
    return std::any_of(log_.begin(), log_.end(),
                       [&](const std::string& each) { return each.starts_with(line); });
  });
}

std::vector<std::string> TestPolicy::log() {
  const std::lock_guard lock(mutex_);
  return log_;
}

ConnectInfo TestPolicy::last_connect() {
  const std::lock_guard lock(mutex_);
  return last_;
}

void TestPolicy::authenticate(ConnectInfo info, std::function<void(ConnectVerdict)> done) {
  const auto user = info.username.value_or("anon");
  {
    const std::lock_guard lock(mutex_);
    last_ = info;
  }
  if (user == "bad") return done({mqtt::ConnectCode::kNotAuthorized, "", "bad-token"});
  if (user == "later") return waiting.push_back(std::move(done));
  done({mqtt::ConnectCode::kAccepted, user, ""});
}

PublishVerdict TestPolicy::authorize_publish(const Client&, std::string_view topic, mqtt::Qos) {
  if (topic.starts_with("denied/")) return PublishVerdict::kDrop;
  if (topic.starts_with("intercept/")) return PublishVerdict::kIntercept;
  if (topic == "fatal") return PublishVerdict::kClose;
  return PublishVerdict::kRoute;
}

std::uint8_t TestPolicy::authorize_subscribe(const Client&, std::string_view filter, mqtt::Qos requested) {
  if (filter.starts_with("test/nosubscribe")) return mqtt::kSubscribeRefused;
  if (filter.starts_with("q0/")) return 0;
  return static_cast<std::uint8_t>(requested);
}

void TestPolicy::on_publish(const Client& client, const mqtt::PublishPacket& packet, PublishDone done) {
  note("intercept:" + client.client_id + ":" + std::string(packet.topic) + ":" + std::string(packet.payload));
  held.push_back(std::move(done));
}

void TestPolicy::on_client(const ClientEvent& event) {
  static const char* const kNames[] = {
      "", "connected", "disconnected", "subscribed", "unsubscribed", "session-ended", "refused"};
  note(std::string(kNames[static_cast<int>(event.change)]) + ":" + event.client.client_id + ":" +
       std::string(event.detail));
}

void TestPolicy::on_delivered(const Client& client, std::uint64_t token, bool acknowledged) {
  note("delivered:" + client.client_id + ":" + std::to_string(token) +
       (acknowledged ? ":acked" : ":given-up"));
}

void TestPolicy::on_trouble(std::string_view what) {
  note("trouble:" + std::string(what));
}

void TestPolicy::on_http(HttpRequest request, std::function<void(HttpAnswer)> done) {
  note("http:" + request.method + ":" + request.target + ":" + request.body);
  done({200, "application/json", "{\"echo\":" + request.body + "}"});
}

BrokerTest::~BrokerTest() {
  stop(Stop::kCrash);
}

void BrokerTest::start(BrokerOptions options, Commit commit) {
  if (options.listeners.empty()) {
    options.listeners.push_back({"mqtt", Transport::kTcp, "127.0.0.1", 0, nullptr});
  }
  options_ = options;
  if (!store_) store_ = std::make_unique<MemorySessionStore>(context_->get_executor(), commit);
  broker_ = std::make_unique<Broker>(*context_, std::move(options), policy_, *store_);
  const auto opened = broker_->open();
  ASSERT_TRUE(opened) << describe(opened.error());
  port_ = broker_->port(options_.listeners.front().name);
  work_.emplace(context_->get_executor());
  thread_ = std::thread([this] { context_->run(); });
}

void BrokerTest::stop(Stop how) {
  if (!thread_.joinable()) return;
  if (how == Stop::kCleanly) {
    std::promise<void> closed;
    boost::asio::post(*context_, [&] { broker_->close([&] { closed.set_value(); }); });
    EXPECT_EQ(closed.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
    on_executor([this] { broker_.reset(); });
  } else {
    on_executor([this] {
      store_->crash();
      broker_.reset();
    });
  }
  work_.reset();
  context_->stop();
  thread_.join();
  context_->restart();
}

void BrokerTest::restart(Stop how) {
  stop(how);
  start(options_);
}

}  // namespace decklog::broker::test
