// What surrounds the hub's parts, as values that tests set and look at. One thread: the test's.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "services/hub/parts.hpp"
#include "services/loop/clock.hpp"

namespace decklog::hub::test {

// Runs what is posted until the condition holds; false when it never does.
inline bool run_until(boost::asio::io_context& context, const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    context.restart();
    context.run_one_for(std::chrono::milliseconds(20));
  }
  return true;
}

class FakeSurroundings final : public loop::Surroundings {
 public:
  Instant now() override { return at; }
  std::uint64_t random() override { return 0x123456789abcdef0; }
  ClockState clock_state() override { return ClockState::kSynced; }
  BootId boot() override { return BootId("11111111-1111-1111-1111-111111111111"); }
  void pass(Duration time) { at.wall.ns += time.count(), at.mono.ns += time.count(); }

  Instant at{{1'800'000'000'000'000'000}, {1'000'000'000'000}};
};

class FakeLog final : public HubLog {
 public:
  void observe(const std::string& client, std::string observation, std::string cause, std::string,
               std::string) override {
    observed.push_back(client + " " + observation + " " + cause);
  }
  void note(Fact fact) override { noted.push_back(std::move(fact)); }
  bool storming(const std::string&) const override { return false; }

  std::vector<std::string> observed;
  std::vector<Fact> noted;
};

// Takes everything; answers when the test says so, or at once.
class FakeUplink : public uplink::Uplink {
 public:
  explicit FakeUplink(boost::asio::io_context& io) : context(io) {}
  const char* kind() const override { return "fake"; }
  void set_listener(uplink::Listener) override {}
  void connect() override {}
  void disconnect() override {}
  void ping(Duration, uplink::Callback<void>) override {}
  void watch_desired(const uplink::TwinKey&) override {}
  void watch_identities(const std::string&) override {}
  void accept_methods(const uplink::TwinKey&) override {}
  void accept_cloud_messages(const std::string&) override {}
  void get_desired(const uplink::TwinKey&, uplink::Callback<uplink::TwinValue> done) override {
    later([this, done] { done(desired); });
  }
  void get_reported(const uplink::TwinKey&, uplink::Callback<uplink::TwinValue> done) override {
    later([this, done] { done(reported); });
  }
  void put_reported(const uplink::TwinKey&, const std::string& json, std::optional<std::uint64_t> expected,
                    uplink::Callback<std::uint64_t> done) override {
    later([this, json, expected, done] {
      if (expected && *expected != reported.revision) return done(error(Errc::kConflict, "moved"));
      reported = {json, reported.revision + 1};
      done(reported.revision);
    });
  }
  void get_identity(const uplink::TwinKey&, uplink::Callback<std::string> done) override {
    later([done] { done(error(Errc::kNotFound, "none")); });
  }
  void publish(std::vector<uplink::Telemetry> batch, uplink::Callback<std::size_t> done) override {
    const std::size_t count = batch.size();
    for (auto& message : batch) published.push_back(std::move(message));
    later([count, done] { done(count); });
  }
  void checkpoint(uplink::Callback<std::string> done) override {
    later([done] { done(std::string("stream-1")); });
  }
  void mirror(std::vector<MirroredEvent>, uplink::Callback<std::size_t>) override {}
  void answer_method(std::uint64_t, const uplink::MethodAnswer&) override {}
  void settle(std::uint64_t, uplink::Settle) override {}

  uplink::TwinValue desired{"{}", 1}, reported{"{}", 0};
  std::vector<uplink::Telemetry> published;

 protected:
  void later(std::function<void()> work) { boost::asio::post(context, std::move(work)); }
  boost::asio::io_context& context;
};

// A module that is there; what it is given waits for the test's verdict.
class FakeClients final : public ClientSide {
 public:
  struct Given {
    std::string input, body;
    std::uint64_t token = 0;
  };
  bool deliver_input(const Identity&, std::string_view input, const Ingest& message,
                     std::uint64_t token) override {
    if (given.size() >= room) return false;
    given.push_back({std::string(input), message.body, token});
    return true;
  }
  bool connected(const Identity&) const override { return there; }
  void on_desired(const uplink::TwinKey&, const uplink::TwinValue&) override {}
  void on_identity(const uplink::TwinKey&, const std::string&) override {}
  void on_method(const uplink::MethodCall&) override {}
  void on_cloud_message(const uplink::CloudMessage&) override {}
  void on_link(bool) override {}
  std::vector<ClientLine> clients() const override { return {}; }

  bool there = true;
  std::size_t room = 1000;
  std::vector<Given> given;
};

}  // namespace decklog::hub::test
