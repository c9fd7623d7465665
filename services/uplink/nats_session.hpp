// The NATS uplink's state on its executor: what is watched and accepted over all connections, and the parts
// that live for one connection. Private to nats_session*.cpp and nats_uplink.cpp. See uplink.hpp for thread
// and failure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "services/uplink/names.hpp"
#include "services/uplink/nats_cloud_inbox.hpp"
#include "services/uplink/nats_publisher.hpp"
#include "services/uplink/nats_watch.hpp"
#include "services/uplink/nats_wire.hpp"

namespace decklog::uplink {

class NatsSession final : public std::enable_shared_from_this<NatsSession> {
 public:
  static constexpr std::size_t kMaxMethodCalls = 1024;  // unanswered; more are answered with 429 at once
  static constexpr Duration kMethodTimeout = std::chrono::seconds(30);  // when the caller names none

  NatsSession(boost::asio::any_io_executor executor, NatsOptions options);
  ~NatsSession();
  void shut();

  void connect();
  void disconnect();
  void ping(Duration timeout, Callback<void> done);
  void watch_desired(const TwinKey& key);
  void watch_identities(const std::string& device);
  void accept_methods(const TwinKey& key);
  void accept_cloud_messages(const std::string& device);
  void get_twin(const TwinKey& key, TwinPart part, Callback<TwinValue> done);
  void put_reported(const TwinKey& key, const std::string& json, std::optional<std::uint64_t> expected,
                    Callback<std::uint64_t> done);
  void get_identity(const TwinKey& key, Callback<std::string> done);
  void publish(std::vector<Telemetry> batch, Callback<std::size_t> done);
  void mirror(std::vector<Uplink::MirroredEvent> events, Callback<std::size_t> done);
  void checkpoint(Callback<std::string> done);
  void answer_method(std::uint64_t call_tag, const MethodAnswer& answer);
  void settle(std::uint64_t delivery_tag, Settle how);

  Listener listener;

 private:
  struct DeviceWatch {
    std::set<std::string> modules;
    std::map<std::string, std::uint64_t> delivered;  // revision by module, for this connection
    std::shared_ptr<NatsWatch> watch;
  };
  struct OpenCall {
    std::string reply;
    SteadyTime until;
  };

  // True when there is no link: done gets the error, later.
  template <class T>
  bool unavailable(const Callback<T>& done) {
    if (connected_) return false;
    mailbox_->post([done] { done(error(Errc::kUnavailable, "not connected")); });
    return true;
  }
  void ready();
  void announce();
  void ended(LinkChange change, LinkCause cause, const std::string& detail);
  void say(LinkChange change, LinkCause cause, std::string detail);
  void drop_session(const Error& reason);
  void start_twin_watch(const std::string& device);
  void start_identity_watches(const std::string& device);
  void start_cloud_inbox(const std::string& device);
  void start_methods(const TwinKey& key);
  void desired_arrived(const std::string& subject, jetstream::Entry entry);
  void method_arrived(const TwinKey& key, NatsMessage message);
  void reply_to(const std::string& reply, const MethodAnswer& answer);
  void watch_failed(const std::string& what, const Error& reason);
  void get_last(const std::string& stream, const std::string& subject, Callback<jetstream::Entry> done);
  void put(NatsMessage message, bool retry_over_marker, Callback<std::uint64_t> done);
  void tick();

  boost::asio::any_io_executor executor_;
  NatsOptions options_;
  std::shared_ptr<Mailbox> mailbox_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<NatsPublisher> telemetry_;
  std::shared_ptr<NatsPublisher> events_;
  std::shared_ptr<NatsWire> wire_;
  bool subscribing_ = false;  // the wire takes subscriptions; connected_ follows a round trip later
  bool connected_ = false;
  std::uint64_t last_tag_ = 0;
  std::string stream_created_;
  std::uint64_t regressions_ = 0;  // times the stream came back shorter than what it had acknowledged

  std::map<std::string, DeviceWatch> twins_;
  std::map<std::string, std::vector<std::shared_ptr<NatsWatch>>> identities_;
  std::map<std::string, std::shared_ptr<NatsCloudInbox>> clouds_;
  std::set<TwinKey> methods_;
  std::unordered_map<std::uint64_t, OpenCall> calls_;
  Worker worker_;  // last: its jobs end before what they refer to
};

}  // namespace decklog::uplink
