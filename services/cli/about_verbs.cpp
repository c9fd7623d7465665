// Verbs about the program itself.
#include <cstdio>

#include "events/build.hpp"
#include "events/event.hpp"
#include "services/cli/cli.hpp"
#include "statemachines/client_machine.hpp"
#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::cli {
namespace {

namespace sm = statemachines;

int version(const Session& session) {
  if (session.json)
    std::printf("{\"version\":\"%s\",\"build\":\"%s\"}\n", kVersion, build_id().c_str());
  else
    std::printf("decklog %s (build %s)\n", kVersion, build_id().c_str());
  return kDone;
}

int machines() {
  std::printf("ModuleLifecycle\n%s\nDeployment\n%s\nUplink\n%s\nClientSession\n%s\n",
              sm::module_diagram().c_str(), sm::deployment_diagram().c_str(), sm::uplink_diagram().c_str(),
              sm::client_diagram().c_str());
  return kDone;
}

int events() {
  std::fputs(catalogue_markdown().c_str(), stdout);
  return kDone;
}

}  // namespace

void add_about_verbs(CLI::App& app, Session& session) {
  app.add_subcommand("version", "Version and build id")->callback([&session] {
    session.action = [&session] { return version(session); };
  });
  app.add_subcommand("machines", "Print the state machines as Mermaid diagrams")->callback([&session] {
    session.action = [] { return machines(); };
  });
  app.add_subcommand("events", "Print the catalogue of event types")->callback([&session] {
    session.action = [] { return events(); };
  });
  auto shell = std::make_shared<std::string>("bash");
  auto* completion = app.add_subcommand("completion", "Print a completion script for bash, zsh or fish");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->capture_default_str();
  completion->footer("Examples:\n  source <(decklog completion bash)\n  decklog completion fish | source");
  completion->callback([&session, &app, shell] {
    session.action = [&app, shell] {
      std::fputs(completion_script(app, *shell).c_str(), stdout);
      return kDone;
    };
  });
}

}  // namespace decklog::cli
