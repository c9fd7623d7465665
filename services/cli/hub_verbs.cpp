// Verbs about routes and the hub.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "services/broker/run_broker.hpp"
#include "services/cli/cli.hpp"
#include "services/routing/route_tool.hpp"

namespace decklog::cli {
namespace {

struct HubArguments {
  std::uint16_t broker_port = 0, web_socket_port = 0;
  std::string data = "decklog-broker", durability = "power";
  std::vector<std::string> refused;
};

int run_development_broker(const HubArguments& arguments) {
  broker::DevelopmentBrokerOptions options;
  options.port = arguments.broker_port;
  options.web_socket_port = arguments.web_socket_port;
  options.data_directory = arguments.data == "none" ? "" : arguments.data;
  options.durability =
      arguments.durability == "power" ? persistence::Durability::kPower : persistence::Durability::kProcess;
  options.wait_for_durable = arguments.durability != "none";
  options.refused_filters = arguments.refused;
  options.on_ready = [](std::uint16_t port, std::uint16_t web_socket) {
    std::printf("listening on 127.0.0.1:%u", port);
    if (web_socket != 0) std::printf(", WebSocket on 127.0.0.1:%u", web_socket);
    std::puts("");
    std::fflush(stdout);
  };
  const auto status = broker::run_broker(options);
  return status ? kDone : complain(status.error());
}

void add_hub(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<HubArguments>();
  auto* verb = app.add_subcommand(
      "hub", "Run an MQTT 3.1.1 broker on loopback until SIGTERM");
  verb->add_option("--broker", arguments->broker_port, "development broker: plaintext, anonymous, this port on 127.0.0.1 (0 = any free one)")->required();
  verb->add_option("--websocket", arguments->web_socket_port,
                   "development broker: MQTT over WebSocket on this port too");
  verb->add_option("--data", arguments->data, "development broker: data directory, or none")
      ->capture_default_str();
  verb->add_option("--durability", arguments->durability, "development broker: when PUBACK is sent")
      ->check(CLI::IsMember({"power", "process", "none"}))
      ->capture_default_str();
  verb->add_option("--refuse-subscribe", arguments->refused,
                   "development broker: refuse filters that begin so (SUBACK 0x80)");
  verb->footer("Example:\n  decklog hub --broker 1883");
  verb->callback([&session, arguments] {
    session.action = [arguments] { return run_development_broker(*arguments); };
  });
}

}  // namespace

void add_hub_verbs(CLI::App& app, Session& session) {
  add_hub(app, session);
  auto* route = app.add_subcommand("route", "Routes: evaluate or explain them");
  route->require_subcommand(1);
  auto file = std::make_shared<std::string>("-");
  auto* verb = route->add_subcommand(
      "eval",
      "Evaluate JSON lines {\"id\",\"kind\",\"query\",\"message\",...}; prints {\"id\",\"result\"} a line");
  verb->add_option("FILE", *file, "- reads standard input");
  verb->callback([&session, file] {
    session.action = [file] {
      if (*file == "-") return routing::route_eval(std::cin, std::cout, std::cerr);
      std::ifstream stream(*file);
      if (!stream) return complain(error(Errc::kNotFound, "cannot be read", *file));
      return routing::route_eval(stream, std::cout, std::cerr);
    };
  });
  auto query = std::make_shared<std::string>(), message = std::make_shared<std::string>(),
       source = std::make_shared<std::string>("/messages");
  verb = route->add_subcommand("explain", "Say in words why a message would match a route, or not");
  verb->add_option("ROUTE", *query, "route or condition")->required();
  verb->add_option("MESSAGE", *message, "JSON {\"body\",\"appProps\",\"sysProps\"}; @FILE reads a file")
      ->required();
  verb->add_option("--source", *source, "where the message comes from, e.g. /messages/modules/cam/outputs/o")
      ->capture_default_str();
  verb->callback([&session, query, message, source] {
    session.action = [query, message, source]() -> int {
      std::string text = *message;
      if (text.starts_with("@")) {
        std::ifstream stream(text.substr(1));
        std::ostringstream all;
        all << stream.rdbuf();
        text = all.str();
      }
      return routing::route_explain(*query, text, *source, std::cout);
    };
  });
}

}  // namespace decklog::cli
