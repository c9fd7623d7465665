#include "services/broker/run_broker.hpp"

#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>

#include "services/broker/broker.hpp"
#include "services/broker/durable_session_store.hpp"
#include "services/broker/memory_session_store.hpp"
#include "services/loop/startup_memory.hpp"

namespace decklog::broker {
namespace {

constexpr auto kStoreTick = std::chrono::seconds(5);

class AnonymousPolicy final : public BrokerPolicy {
 public:
  explicit AnonymousPolicy(std::vector<std::string> refused) : refused_(std::move(refused)) {}

  void authenticate(ConnectInfo, std::function<void(ConnectVerdict)> done) override {
    done({mqtt::ConnectCode::kAccepted, "anonymous", {}});
  }
  PublishVerdict authorize_publish(const Client&, std::string_view topic, mqtt::Qos) override {
    return topic.front() == '$' ? PublishVerdict::kDrop : PublishVerdict::kRoute;
  }
  std::uint8_t authorize_subscribe(const Client&, std::string_view filter, mqtt::Qos requested) override {
    for (const auto& prefix : refused_) {
      if (filter.starts_with(prefix)) return mqtt::kSubscribeRefused;
    }
    return static_cast<std::uint8_t>(requested);
  }
  void on_publish(const Client&, const mqtt::PublishPacket&, PublishDone done) override { done(true); }
  void on_client(const ClientEvent&) override {}
  void on_delivered(const Client&, std::uint64_t, bool) override {}

 private:
  std::vector<std::string> refused_;
};

// Each connection is a descriptor; the soft limit of a shell is often 1024.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void tick_store(boost::asio::steady_timer& timer, DurableStorage& storage) {
  timer.expires_after(kStoreTick);
  timer.async_wait([&timer, &storage](const boost::system::error_code& failed) {
    if (failed) return;
    storage.messages().tick(system_now());
    tick_store(timer, storage);
  });
}

BrokerOptions broker_options(const DevelopmentBrokerOptions& options) {
  BrokerOptions made;
  made.ack_when = options.wait_for_durable ? AckWhen::kDurable : AckWhen::kAtOnce;
  ListenerOptions plain;
  plain.name = "mqtt";
  plain.address = options.address;
  plain.port = options.port;
  made.listeners.push_back(plain);
  if (options.web_socket_port != 0) {
    ListenerOptions web = plain;
    web.name = "ws";
    web.transport = Transport::kWebSocket;
    web.port = options.web_socket_port;
    made.listeners.push_back(web);
  }
  return made;
}

}  // namespace

Status run_broker(const DevelopmentBrokerOptions& options) {
  boost::system::error_code not_an_address;
  const auto address = boost::asio::ip::make_address(options.address, not_an_address);
  if (not_an_address || !address.is_loopback()) {
    return error(Errc::kInvalidArgument, "the anonymous broker listens on loopback only", options.address);
  }
  raise_descriptor_limit();
  boost::asio::io_context context(1);
  std::unique_ptr<DurableStorage> storage;
  std::unique_ptr<MemorySessionStore> memory;
  boost::asio::steady_timer store_timer(context);
  if (options.data_directory.empty()) {
    memory =
        std::make_unique<MemorySessionStore>(context.get_executor(), MemorySessionStore::Commit::kNextTurn);
  } else {
    persistence::MessageStoreOptions store;
    store.directory = options.data_directory;
    store.durability = options.durability;
    auto opened = DurableStorage::open(context, store);
    if (!opened) return opened.error();
    storage = std::move(*opened);
    tick_store(store_timer, *storage);
  }
  AnonymousPolicy policy(options.refused_filters);
  Broker broker(context, broker_options(options), policy,
                storage ? storage->store() : static_cast<SessionStore&>(*memory));
  if (auto opened = broker.open(); !opened) return opened;
  boost::asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& failed, int) {
    if (!failed) broker.close([&] { context.stop(); });
  });
  if (options.on_ready) options.on_ready(broker.port("mqtt"), broker.port("ws"));
  const loop::StartupMemory give_back(context, loop::GiveBack::kStorage);
  context.run();
  return {};
}

}  // namespace decklog::broker
