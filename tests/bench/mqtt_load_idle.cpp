// mqtt_load idle: connections= clients with one QoS 0 subscription each that then say nothing (tls=1: over
// TLS), and what each of them costs the server in memory.
#include "tests/bench/mqtt_load.hpp"

namespace decklog::bench {

int run_idle(const Options& options) {
  const int port = static_cast<int>(options.number("port", 1883));
  const auto wanted = static_cast<std::size_t>(options.number("connections", 1000));
  const Process server(options.number("pid", 0));
  SSL_CTX* const context = options.number("tls", 0) != 0 ? SSL_CTX_new(TLS_client_method()) : nullptr;
  const auto open = [&](std::size_t number) {
    auto client = std::make_unique<Client>();
    if (!client->connect_tcp(port)) die("connect");
    if (context != nullptr) {
      client->tls = SSL_new(context);
      SSL_set_mode(client->tls, SSL_MODE_RELEASE_BUFFERS);
      SSL_set_fd(client->tls, client->socket);
      if (SSL_connect(client->tls) != 1) die("the TLS handshake failed");
    }
    const auto id = "idle" + std::to_string(number);
    client->say_hello(id, true);
    client->subscribe("idle/" + id, 0);
    return client;
  };
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < 20; ++i) clients.push_back(open(i));  // what a first client brings in for good
  ::usleep(1'500'000);
  const auto before = server.rss_kb();
  const double cpu = server.cpu_seconds();
  for (std::size_t i = 0; i < wanted; ++i) clients.push_back(open(clients.size()));
  ::usleep(1'000'000);
  const auto after = server.rss_kb();
  Report report;
  report.add("kb_per_connection", static_cast<double>(after - before) / static_cast<double>(wanted));
  report.add("cpu_us_per_connect", (server.cpu_seconds() - cpu) * 1e6 / static_cast<double>(wanted));
  report.add("rss_before_kb", static_cast<double>(before));
  report.add("rss_after_kb", static_cast<double>(after));
  const double idle_cpu = server.cpu_seconds();
  ::usleep(2'000'000);
  report.add("idle_cpu_percent", (server.cpu_seconds() - idle_cpu) * 50);
  report.print();
  return 0;
}

}  // namespace decklog::bench
