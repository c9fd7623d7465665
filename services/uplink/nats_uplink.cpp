#include "services/uplink/nats_uplink.hpp"

#include "services/uplink/nats_session.hpp"

namespace decklog::uplink {
namespace {

class NatsUplink final : public Uplink {
 public:
  NatsUplink(boost::asio::any_io_executor executor, NatsOptions options)
      : session_(std::make_shared<NatsSession>(std::move(executor), std::move(options))) {}
  ~NatsUplink() override { session_->shut(); }

  const char* kind() const override { return "nats"; }
  void set_listener(Listener listener) override { session_->listener = std::move(listener); }
  void connect() override { session_->connect(); }
  void disconnect() override { session_->disconnect(); }
  void ping(Duration timeout, Callback<void> done) override { session_->ping(timeout, std::move(done)); }
  void watch_desired(const TwinKey& key) override { session_->watch_desired(key); }
  void watch_identities(const std::string& device) override { session_->watch_identities(device); }
  void accept_methods(const TwinKey& key) override { session_->accept_methods(key); }
  void accept_cloud_messages(const std::string& device) override { session_->accept_cloud_messages(device); }
  void get_desired(const TwinKey& key, Callback<TwinValue> done) override {
    session_->get_twin(key, TwinPart::kDesired, std::move(done));
  }
  void get_reported(const TwinKey& key, Callback<TwinValue> done) override {
    session_->get_twin(key, TwinPart::kReported, std::move(done));
  }
  void put_reported(const TwinKey& key, const std::string& json, std::optional<std::uint64_t> expected,
                    Callback<std::uint64_t> done) override {
    session_->put_reported(key, json, expected, std::move(done));
  }
  void get_identity(const TwinKey& key, Callback<std::string> done) override {
    session_->get_identity(key, std::move(done));
  }
  void publish(std::vector<Telemetry> batch, Callback<std::size_t> done) override {
    session_->publish(std::move(batch), std::move(done));
  }
  void checkpoint(Callback<std::string> done) override { session_->checkpoint(std::move(done)); }
  void mirror(std::vector<MirroredEvent> events, Callback<std::size_t> done) override {
    session_->mirror(std::move(events), std::move(done));
  }
  void answer_method(std::uint64_t call_tag, const MethodAnswer& answer) override {
    session_->answer_method(call_tag, answer);
  }
  void settle(std::uint64_t delivery_tag, Settle how) override { session_->settle(delivery_tag, how); }

 private:
  std::shared_ptr<NatsSession> session_;
};

}  // namespace

std::unique_ptr<Uplink> make_nats_uplink(boost::asio::any_io_executor executor, NatsOptions options) {
  return std::make_unique<NatsUplink>(std::move(executor), std::move(options));
}

}  // namespace decklog::uplink
