// Verbs about routes and the hub.
#include <boost/json.hpp>
#include <cctype>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "services/broker/run_broker.hpp"
#include "services/cli/cli.hpp"
#include "services/http/client.hpp"
#include "services/hub/hub_service.hpp"
#include "services/routing/route_tool.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

struct HubArguments {
  std::uint16_t broker_port = 0, web_socket_port = 0;
  bool broker = false;
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

int run_hub_service(const Session& session) {
  const auto config = session.config();
  if (!config) return complain(config.error()), kUsage;
  return hub::run_hub(*config);
}

std::string text_of(const json::object& object, const char* name) {
  const auto* found = object.if_contains(name);
  if (!found) return "";
  return found->is_string() ? std::string(found->get_string()) : json::serialize(*found);
}

// One GET on the hub's socket, and a table of one of its lists.
int show(const Session& session, const char* target, const char* list,
         const std::vector<const char*>& columns) {
  const auto socket = session.hub_socket();
  if (!socket) return complain(socket.error());
  const auto answer = http::request({.unix_path = *socket}, {.target = target});
  if (!answer)
    return complain(error(answer.error().code, answer.error().message + " (is the hub running?)", *socket));
  if (session.json) {
    std::puts(answer->body.c_str());
    return kDone;
  }
  json::error_code code;
  const auto body = json::parse(answer->body, code);
  if (code || !body.is_object() || !body.get_object().contains(list))
    return complain(error(Errc::kInternal, "the hub's answer is not what was expected"));
  std::vector<std::string> head;
  for (const auto* column : columns) {
    head.emplace_back(column);
    for (auto& letter : head.back()) letter = static_cast<char>(std::toupper(letter));
  }
  Table table(head);
  for (const auto& item : body.get_object().at(list).as_array()) {
    std::vector<std::string> row;
    for (const auto* column : columns) row.push_back(text_of(item.as_object(), column));
    table.add(std::move(row));
  }
  table.print(session);
  return kDone;
}

void add_hub(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<HubArguments>();
  auto* verb = app.add_subcommand(
      "hub", "Run the Edge Hub until SIGTERM; with --broker just an MQTT broker on loopback");
  auto* port =
      verb->add_option("--broker", arguments->broker_port,
                       "development broker: plaintext, anonymous, this port on 127.0.0.1 (0 = any free one)");
  verb->add_option("--websocket", arguments->web_socket_port,
                   "development broker: MQTT over WebSocket on this port too");
  verb->add_option("--data", arguments->data, "development broker: data directory, or none")
      ->capture_default_str();
  verb->add_option("--durability", arguments->durability, "development broker: when PUBACK is sent")
      ->check(CLI::IsMember({"power", "process", "none"}))
      ->capture_default_str();
  verb->add_option("--refuse-subscribe", arguments->refused,
                   "development broker: refuse filters that begin so (SUBACK 0x80)");
  verb->footer("Examples:\n  decklog --config /etc/decklog/config.toml hub\n  decklog hub --broker 1883");
  verb->callback([&session, arguments, port] {
    if (port->count() > 0)
      session.action = [arguments] { return run_development_broker(*arguments); };
    else
      session.action = [&session] { return run_hub_service(session); };
  });
}

}  // namespace

void add_hub_verbs(CLI::App& app, Session& session) {
  add_hub(app, session);
  auto* clients = app.add_subcommand("clients", "Clients of the hub: connected or not, and why");
  clients->footer("Example:\n  decklog clients");
  clients->callback([&session] {
    session.action = [&session] {
      return show(session, "/v1/clients", "clients", {"client", "state", "since", "peer", "cause"});
    };
  });
  auto* queues = app.add_subcommand(
      "queues", "Messages that wait, by endpoint; accepted = delivered + expired + dropped + queued");
  auto all = std::make_shared<bool>(false);
  queues->add_flag("--all", *all, "queues of client sessions too in which nothing waits");
  queues->footer("Examples:\n  decklog queues\n  decklog queues --all --json");
  queues->callback([&session, all] {
    session.action = [&session, all] {
      return show(session, *all ? "/v1/queues?all" : "/v1/queues", "queues",
                  {"queue", "kind", "priority", "queued", "bytes", "oldest", "accepted", "delivered",
                   "expired", "dropped", "conserved"});
    };
  });
  auto* route = app.add_subcommand("route", "Routes: evaluate or explain them");
  route->require_subcommand(1);
  route->footer("Example:\n  decklog route explain 'level > 7' '{\"appProps\":{\"level\":\"9\"}}'");
  auto file = std::make_shared<std::string>("-");
  auto* verb = route->add_subcommand(
      "eval",
      "Evaluate JSON lines {\"id\",\"kind\",\"query\",\"message\",...}; prints {\"id\",\"result\"} a line");
  verb->add_option("FILE", *file, "- reads standard input");
  verb->footer("Example:\n  decklog route eval cases.jsonl");
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
  verb->footer("Example:\n  decklog route explain 'level > 7' '{\"appProps\":{\"level\":\"9\"}}'");
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
