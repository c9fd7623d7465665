// decklog: one binary for services, operators and offline tools.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string_view>

#include "services/cli/cli.hpp"
#include "services/runtime/keeper.hpp"

namespace {

std::string own_path() {
  std::error_code failed;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? "decklog" : path.string();
}

// Half an answer on a full disk is no success.
int flushed(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "decklog: the output could not be written\n");
  return status == decklog::cli::kDone ? decklog::cli::kFailed : status;
}

int run(int argc, char** argv) {
  using namespace decklog::cli;
  CLI::App app{"Decklog: an event-sourced runtime for IoT edge devices. The log is the state."};
  app.name("decklog");
  Session session;
  session.program = own_path();
  if (const char* file = std::getenv("DECKLOG_CONFIG")) session.config_file = file;
  app.add_option("-c,--config", session.config_file, "configuration file (environment: DECKLOG_CONFIG)")
      ->capture_default_str();
  app.add_option("--socket", session.socket, "management socket, instead of the configuration's");
  app.add_flag("--json", session.json, "print JSON");
  app.add_flag("--no-colour,--no-color", session.no_colour, "no colours (they are only used on a terminal)");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 document refused, 4 not found, 5 device "
      "unreachable, 6 not verified.\nHelp on a verb: decklog VERB --help");
  add_service_verbs(app, session);
  add_operate_verbs(app, session);
  add_audit_verbs(app, session);
  add_replay_verbs(app, session);
  add_hub_verbs(app, session);
  add_fleet_verbs(app, session);
  add_about_verbs(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? kDone : kUsage;
  }
  return session.action ? flushed(session.action()) : kUsage;
}

}  // namespace

int main(int argc, char** argv) {
  // The keeper is this binary in another role; it stays clear of everything the operator's side needs.
  if (argc > 1 && std::string_view(argv[1]) == "keeper")
    return decklog::runtime::keeper_main(argc - 1, argv + 1);
  try {
    return run(argc, argv);
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "decklog: %s\n", failed.what());
    return decklog::cli::kFailed;
  }
}
