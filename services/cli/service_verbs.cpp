// Verbs that are services, or check what services read.
#include <cstdio>
#include <filesystem>

#include "services/agent/agent_service.hpp"
#include "services/cli/cli.hpp"
#include "services/cli/json_parts.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

int run_agent(const Session& session) {
  const auto config = session.config();
  if (!config) return complain(config.error()), kUsage;
  std::error_code failed;
  return agent::run_agent(*config,
                          {session.program, std::filesystem::absolute(session.config_file, failed).string()});
}

int check_config(const Session& session) {
  const auto config = session.config();
  if (!config) return complain(config.error()), kUsage;
  if (session.json) {
    print(json::object{{"file", session.config_file},
                       {"device", config->device},
                       {"uplink", config->uplink.kind},
                       {"dataDir", config->data_dir}});
    return kDone;
  }
  std::printf("%s: good (device %s, uplink %s, data in %s)\n", session.config_file.c_str(),
              config->device.c_str(), config->uplink.kind.c_str(), config->data_dir.c_str());
  return kDone;
}

}  // namespace

void add_service_verbs(CLI::App& app, Session& session) {
  auto* verb =
      app.add_subcommand("agent", "Run the Edge Agent until SIGTERM; modules keep running when it ends");
  verb->footer("Example:\n  decklog --config /etc/decklog/config.toml agent");
  verb->callback([&session] { session.action = [&session] { return run_agent(session); }; });

  verb = app.add_subcommand("check-config",
                            "Read the configuration and say what is wrong with it, by file, line and key");
  verb->footer("Example:\n  decklog --config /etc/decklog/config.toml check-config");
  verb->callback([&session] { session.action = [&session] { return check_config(session); }; });
}

}  // namespace decklog::cli
