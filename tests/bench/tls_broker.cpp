// tls_broker PORT CERTIFICATE KEY: our broker behind TLS with anonymous clients and nothing kept, to measure
// what a TLS connection costs. The product itself has no such combination.
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "services/broker/broker.hpp"
#include "services/broker/memory_session_store.hpp"
#include "services/broker/tls_context.hpp"

namespace decklog::broker {
namespace {

class AnyonePolicy final : public BrokerPolicy {
 public:
  void authenticate(ConnectInfo, std::function<void(ConnectVerdict)> done) override {
    done({mqtt::ConnectCode::kAccepted, "anyone", {}});
  }
  PublishVerdict authorize_publish(const Client&, std::string_view, mqtt::Qos) override {
    return PublishVerdict::kRoute;
  }
  std::uint8_t authorize_subscribe(const Client&, std::string_view, mqtt::Qos requested) override {
    return static_cast<std::uint8_t>(requested);
  }
  void on_publish(const Client&, const mqtt::PublishPacket&, PublishDone done) override { done(true); }
  void on_client(const ClientEvent&) override {}
  void on_delivered(const Client&, std::uint64_t, bool) override {}
};

}  // namespace
}  // namespace decklog::broker

int main(int argc, char** argv) {
  using namespace decklog::broker;
  if (argc != 4) return 2;
  const auto material = read_tls_files({argv[2], argv[3], {}});
  if (!material) return 1;
  const auto tls = TlsContext::make(*material);
  if (!tls) return 1;
  boost::asio::io_context context(1);
  MemorySessionStore store(context.get_executor(), MemorySessionStore::Commit::kNextTurn);
  AnyonePolicy policy;
  BrokerOptions options;
  ListenerOptions listener;
  listener.name = "mqtts";
  listener.transport = Transport::kTls;
  listener.port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  listener.tls = *tls;
  options.listeners.push_back(listener);
  Broker broker(context, options, policy, store);
  if (!broker.open()) return 1;
  boost::asio::signal_set signals(context, SIGTERM);
  signals.async_wait([&](const boost::system::error_code&, int) { context.stop(); });
  context.run();
  return 0;
}
