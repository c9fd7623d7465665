// The development broker as a program of its own, for tests that kill it. Prints "ready PORT WEBSOCKET_PORT".
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "services/broker/run_broker.hpp"

int main(int count, char** arguments) {
  decklog::broker::DevelopmentBrokerOptions options;
  options.port = 0;
  options.refused_filters = {"test/nosubscribe"};
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--process") {
      options.durability = decklog::persistence::Durability::kProcess;
    } else if (argument == "--at-once") {
      options.wait_for_durable = false;
    } else if (argument == "--port" && i + 1 < count) {
      options.port = static_cast<std::uint16_t>(std::atoi(arguments[++i]));
    } else {
      options.data_directory = argument;
    }
  }
  options.on_ready = [](std::uint16_t port, std::uint16_t web_socket_port) {
    std::printf("ready %u %u\n", port, web_socket_port);
    std::fflush(stdout);
  };
  const auto ended = decklog::broker::run_broker(options);
  if (ended) return 0;
  std::fprintf(stderr, "%s\n", decklog::describe(ended.error()).c_str());
  return 1;
}
