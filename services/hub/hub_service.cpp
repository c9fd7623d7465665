#include "services/hub/hub_service.hpp"

#include <sys/resource.h>
#include <sys/stat.h>

#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "services/http/patient_listener.hpp"
#include "services/http/server.hpp"
#include "services/hub/hub.hpp"
#include "services/loop/startup_memory.hpp"

namespace decklog::hub {

namespace asio = boost::asio;

namespace {

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void answer(Hub& hub, const http::Request& request, const http::Responder& responder) {
  const std::string& path = request.target;
  if (request.method != "GET") return responder.send(http::json_error(405, "only GET"));
  if (path == "/v1/clients") return responder.send({200, "application/json", hub.clients_json()});
  if (path == "/v1/queues" || path == "/v1/queues?all")
    return responder.send({200, "application/json", hub.queues_json(path.ends_with("?all"))});
  if (path == "/metrics") return responder.send({200, "text/plain; version=0.0.4", hub.metrics_text()});
  if (path == "/readyz") {
    if (const std::string why = hub.not_ready(); !why.empty())
      return responder.send(http::json_error(503, why));
  }
  if (path == "/healthz" || path == "/readyz")
    return responder.send({200, "application/json", "{\"status\":\"ok\"}"});
  responder.send(http::json_error(404, "no such resource"));
}

}  // namespace

int run_hub(const config::Config& config) {
  ::umask(0077);
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  std::error_code ignored;
  std::filesystem::create_directories(config.run_dir, ignored);
  asio::io_context context(1);
  Hub hub(context, config);
  const auto complain = [](const Error& error) {
    std::fprintf(stderr, "decklog: hub cannot start: %s\n", describe(error).c_str());
    return 1;
  };
  if (const auto status = hub.open(); !status) return complain(status.error());
  const auto handler = [&hub](const http::Request& request, const http::Responder& responder) {
    answer(hub, request, responder);
  };
  http::Server management(context.get_executor(), {}, handler), metrics(context.get_executor(), {}, handler);
  if (const auto status = management.listen_unix(config.hub.management_socket); !status)
    return complain(status.error());
  http::PatientListener metrics_port(context.get_executor(), metrics);
  if (config.hub.metrics) {
    metrics_port.listen(config.hub.metrics->address, config.hub.metrics->port,
                        [&](const std::string& problem) {
                          std::fprintf(stderr, "decklog: hub.metrics: %s\n", problem.c_str());
                          hub.note(Remarked{"metrics", "hub.metrics", problem});
                        });
  }
  asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](boost::system::error_code failed, int number) {
    if (!failed) hub.stop(number == SIGTERM ? "SIGTERM" : "SIGINT", [&] { context.stop(); });
  });
  std::printf("decklog hub: device %s, mqtts port %u, https port %u, mqtt port %u\n", config.device.c_str(),
              hub.port("mqtts"), hub.port("https"), hub.port("mqtt"));
  std::fflush(stdout);
  const loop::StartupMemory give_back(context, loop::GiveBack::kStorage);
  context.run();
  return 0;
}

}  // namespace decklog::hub
