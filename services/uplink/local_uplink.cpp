#include "services/uplink/local_uplink.hpp"

#include "services/uplink/local_session.hpp"

namespace decklog::uplink {
namespace {

class LocalUplink final : public Uplink {
 public:
  LocalUplink(boost::asio::any_io_executor executor, LocalOptions options)
      : session_(std::make_shared<LocalSession>(std::move(executor), std::move(options))) {}
  ~LocalUplink() override { session_->shut(); }

  const char* kind() const override { return "local"; }
  void set_listener(Listener listener) override { session_->listener = std::move(listener); }
  void connect() override { session_->connect(); }
  void disconnect() override { session_->disconnect(); }
  void ping(Duration, Callback<void> done) override {
    session_->run<int>([](LocalStore&) -> Result<int> { return 0; },
                       [done = std::move(done)](Result<int> result) {
                         if (result) return done(Result<void>());
                         done(result.error());
                       });
  }
  void watch_desired(const TwinKey& key) override { session_->watch_desired(key); }
  void watch_identities(const std::string& device) override { session_->watch_identities(device); }
  void accept_methods(const TwinKey& key) override { session_->accept_methods(key); }
  void accept_cloud_messages(const std::string& device) override { session_->accept_cloud_messages(device); }
  void get_desired(const TwinKey& key, Callback<TwinValue> done) override {
    get(DocumentKind::kDesired, key, std::move(done));
  }
  void get_reported(const TwinKey& key, Callback<TwinValue> done) override {
    get(DocumentKind::kReported, key, std::move(done));
  }
  void put_reported(const TwinKey& key, const std::string& json, std::optional<std::uint64_t> expected,
                    Callback<std::uint64_t> done) override {
    session_->run<std::uint64_t>(
        [key, json, expected](LocalStore& store) {
          return store.write(DocumentKind::kReported, key, json, expected);
        },
        std::move(done));
  }
  void get_identity(const TwinKey& key, Callback<std::string> done) override {
    session_->run<std::string>(
        [key](LocalStore& store) -> Result<std::string> {
          auto value = store.read(DocumentKind::kIdentity, key);
          if (!value) return value.error();
          if (value->json.empty()) return error(Errc::kNotFound, "the fleet does not know this identity");
          return std::move(value->json);
        },
        std::move(done));
  }
  void publish(std::vector<Telemetry> batch, Callback<std::size_t> done) override {
    session_->publish(std::move(batch), std::move(done));
  }
  void checkpoint(Callback<std::string> done) override {
    session_->run<std::string>([](LocalStore& store) { return store.stream_identity(); }, std::move(done));
  }
  void mirror(std::vector<MirroredEvent> events, Callback<std::size_t> done) override {
    session_->mirror(std::move(events), std::move(done));
  }
  void answer_method(std::uint64_t call_tag, const MethodAnswer& answer) override {
    session_->answer_method(call_tag, answer);
  }
  void settle(std::uint64_t delivery_tag, Settle how) override { session_->settle(delivery_tag, how); }

 private:
  void get(DocumentKind kind, const TwinKey& key, Callback<TwinValue> done) {
    session_->run<TwinValue>(
        [kind, key](LocalStore& store) -> Result<TwinValue> {
          auto value = store.read(kind, key);
          if (!value) return value.error();
          if (value->json.empty()) return TwinValue{};
          return value;
        },
        std::move(done));
  }

  std::shared_ptr<LocalSession> session_;
};

}  // namespace

std::unique_ptr<Uplink> make_local_uplink(boost::asio::any_io_executor executor, LocalOptions options) {
  return std::make_unique<LocalUplink>(std::move(executor), std::move(options));
}

}  // namespace decklog::uplink
