// A broker on its own thread with a policy that can be told what to allow, and a store that can be crashed.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "services/broker/broker.hpp"
#include "services/broker/memory_session_store.hpp"
#include "tests/services/broker/mqtt_client.hpp"

namespace decklog::broker::test {

// Identity = user name, or "anon". Names that mean something:
//   user "bad" -> CONNACK 5, "later" -> answered by release_later(); filter "test/nosubscribe" -> 0x80,
//   "q0/#" -> at most QoS 0; topic "denied/..." is dropped, "fatal" closes, "intercept/..." goes to
//   on_publish and waits.
class TestPolicy final : public BrokerPolicy {
 public:
  void authenticate(ConnectInfo info, std::function<void(ConnectVerdict)> done) override;
  PublishVerdict authorize_publish(const Client& client, std::string_view topic, mqtt::Qos qos) override;
  std::uint8_t authorize_subscribe(const Client& client, std::string_view filter,
                                   mqtt::Qos requested) override;
  void on_publish(const Client& client, const mqtt::PublishPacket& packet, PublishDone done) override;
  void on_client(const ClientEvent& event) override;
  void on_delivered(const Client& client, std::uint64_t token, bool acknowledged) override;
  void on_trouble(std::string_view what) override;
  void on_http(HttpRequest request, std::function<void(HttpAnswer)> done) override;

  // "connected:a:session-new", "delivered:a:7:acked", "trouble:...", "intercept:a:topic:payload".
  bool wait_for(const std::string& line, int deadline_ms = 15000);
  std::vector<std::string> log();
  ConnectInfo last_connect();

  std::vector<PublishDone> held;                             // executor only
  std::vector<std::function<void(ConnectVerdict)>> waiting;  // executor only

 private:
  void note(std::string line);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> log_;
  ConnectInfo last_;
};

class BrokerTest : public testing::Test {
 protected:
  using Commit = MemorySessionStore::Commit;
  ~BrokerTest() override;

  void start(BrokerOptions options = {}, Commit commit = Commit::kNextTurn);
  // A new broker on what the old one's store kept.
  enum class Stop : std::uint8_t { kCleanly, kCrash };
  void restart(Stop how);
  void stop(Stop how);

  // Runs on the broker's executor and waits for it.
  template <class Work>
  auto on_executor(Work work) {
    std::promise<decltype(work())> result;
    auto future = result.get_future();
    boost::asio::post(*context_, [&] {
      if constexpr (std::is_void_v<decltype(work())>) {
        work();
        result.set_value();
      } else {
        result.set_value(work());
      }
    });
    return future.get();
  }
  BrokerStats stats() {
    return on_executor([this] { return broker_->stats(); });
  }
  template <class Condition>
  bool eventually(Condition condition, int deadline_ms = 15000) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::yield();
    }
    return true;
  }
  MqttClient client(const std::string& id, bool clean = true) { return connected(port_, id, clean); }

  BrokerOptions options_;
  TestPolicy policy_;
  std::unique_ptr<boost::asio::io_context> context_ = std::make_unique<boost::asio::io_context>(1);
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::unique_ptr<MemorySessionStore> store_;
  std::unique_ptr<Broker> broker_;
  std::thread thread_;
  std::uint16_t port_ = 0;
};

}  // namespace decklog::broker::test
