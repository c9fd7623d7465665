#include "tests/services/uplink/rig.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "services/uplink/local_uplink.hpp"

namespace decklog::uplink {
namespace {

class LocalRig final : public Rig {
 public:
  LocalRig() : fleet_(fleet::open_local_fleet(directory_.path("fleet"))) {}
  std::unique_ptr<Uplink> uplink(boost::asio::io_context& io, const std::string& device) override {
    LocalOptions options;
    options.directory = directory_.path("fleet");
    options.device = device;
    return make_local_uplink(io.get_executor(), options);
  }
  fleet::Fleet& fleet() override { return *fleet_; }
  void cut() override { std::ofstream(directory_.path("fleet/OFFLINE")) << "cut"; }
  void restore() override { std::filesystem::remove(directory_.path("fleet/OFFLINE")); }

 private:
  test::TempDir directory_;
  std::unique_ptr<fleet::Fleet> fleet_;
};

class NatsRig final : public Rig {
 public:
  NatsRig() {
    server_.start();
    open();
    const auto made = fleet_->init({});
    if (!made) throw std::runtime_error(describe(made.error()));
  }
  std::unique_ptr<Uplink> uplink(boost::asio::io_context& io, const std::string& device) override {
    return make_nats_uplink(io.get_executor(), quick_options(server_.url(), device));
  }
  fleet::Fleet& fleet() override { return *fleet_; }
  void cut() override { server_.kill(); }
  void restore() override {
    server_.start();
    open();
  }

 private:
  void open() {
    auto fleet = fleet::open_nats_fleet(quick_options(server_.url(), "operator"));
    if (!fleet) throw std::runtime_error(describe(fleet.error()));
    fleet_ = std::move(*fleet);
  }
  test::NatsServer server_;
  std::unique_ptr<fleet::Fleet> fleet_;
};

}  // namespace

std::unique_ptr<Rig> make_rig(const std::string& kind) {
  if (kind == "local") return std::make_unique<LocalRig>();
  return std::make_unique<NatsRig>();
}

NatsOptions quick_options(const std::string& url, const std::string& device) {
  NatsOptions options;
  options.servers = {url};
  options.device = device;
  options.connect_timeout = std::chrono::seconds(5);
  options.heartbeat = std::chrono::milliseconds(500);
  options.watch_retry = std::chrono::milliseconds(500);
  return options;
}

Observer::Observer(Rig& rig, const std::string& device)
    : io(std::make_unique<boost::asio::io_context>()), uplink(rig.uplink(*io, device)) {
  listen();
}

Observer::Observer(std::unique_ptr<boost::asio::io_context> context, std::unique_ptr<Uplink> made)
    : io(std::move(context)), uplink(std::move(made)) {
  listen();
}

void Observer::listen() {
  const auto thread = std::this_thread::get_id();
  const auto here = [this, thread] {
    in_callback_ok = in_callback_ok && thread == std::this_thread::get_id();
  };
  Listener listener;
  listener.on_link = [this, here](const LinkEvent& event) {
    here();
    links.push_back(event);
  };
  listener.on_desired = [this, here](const TwinKey& key, const TwinValue& value) {
    here();
    desired.emplace_back(key, value);
  };
  listener.on_identity = [this, here](const TwinKey& key, const std::string& json) {
    here();
    identities.emplace_back(key, json);
  };
  listener.on_method = [this, here](const MethodCall& call) {
    here();
    calls.push_back(call);
  };
  listener.on_cloud_message = [this, here](const CloudMessage& message) {
    here();
    messages.push_back(message);
  };
  listener.on_watch_failed = [this, here](const std::string& what, const Error& reason) {
    here();
    watch_failures.emplace_back(what, reason);
  };
  uplink->set_listener(std::move(listener));
}

bool Observer::wait(const std::function<bool()>& condition, Duration deadline) {
  const auto until = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    io->restart();
    io->run_one_for(std::chrono::milliseconds(20));
  }
  return true;
}

LinkEvent Observer::connect() {
  const std::size_t before = links.size();
  uplink->connect();
  EXPECT_EQ(links.size(), before) << "on_link inside connect()";
  EXPECT_TRUE(wait([&] { return links.size() > before; }));
  return links.size() > before ? links.back() : LinkEvent{};
}

Telemetry reading(std::uint64_t sequence, std::string body) {
  Telemetry out;
  out.epoch = 7;
  out.sequence = sequence;
  out.device = "edge-1";
  out.module = "sensor";
  out.output = "temperature";
  out.properties = {{"unit", "°C"}, {"$.mid", "m" + std::to_string(sequence)}};
  out.body = body.empty() ? std::to_string(sequence) : std::move(body);
  out.enqueued = WallTime{1'700'000'000'000'000'000};
  return out;
}

std::vector<fleet::TelemetryRecord> stored(fleet::Fleet& fleet, const std::string& device) {
  std::vector<fleet::TelemetryRecord> out;
  fleet::TailOptions options;
  options.device = device;
  options.from = fleet::TailOptions::From::kStart;
  options.idle_max = std::chrono::milliseconds(300);
  const Status status = fleet.tail_telemetry(options, [&](const fleet::TelemetryRecord& record) {
    out.push_back(record);
    return fleet::Tail::kGoOn;
  });
  EXPECT_TRUE(status) << describe(status.error());
  return out;
}

}  // namespace decklog::uplink
