// Verbs about the program itself.
#include <cstdio>

#include "events/build.hpp"
#include "events/event.hpp"
#include "services/cli/cli.hpp"
#include "services/cli/json_parts.hpp"
#include "statemachines/client_machine.hpp"
#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;
namespace sm = statemachines;

int version(const Session& session) {
  if (session.json)
    print(json::object{{"version", kVersion}, {"build", build_id()}});
  else
    std::printf("decklog %s (build %s)\n", kVersion, build_id().c_str());
  return kDone;
}

int machines(const Session& session) {
  if (session.json) {
    print(json::object{{"ModuleLifecycle", sm::module_diagram()},
                       {"Deployment", sm::deployment_diagram()},
                       {"Uplink", sm::uplink_diagram()},
                       {"ClientSession", sm::client_diagram()}});
    return kDone;
  }
  std::printf("ModuleLifecycle\n%s\nDeployment\n%s\nUplink\n%s\nClientSession\n%s\n",
              sm::module_diagram().c_str(), sm::deployment_diagram().c_str(), sm::uplink_diagram().c_str(),
              sm::client_diagram().c_str());
  return kDone;
}

int events(const Session& session) {
  if (session.json) {
    json::array list;
    for (std::size_t type = 1; type < kFactTypes; ++type) {
      const FactInfo& about = fact_info(type);
      list.push_back(json::object{{"number", type},
                                  {"type", std::string(about.name)},
                                  {"kind", name_of(about.kind)},
                                  {"keptLongest", about.lifecycle},
                                  {"meaning", std::string(about.meaning)}});
    }
    print(list);
    return kDone;
  }
  std::fputs(catalogue_markdown().c_str(), stdout);
  return kDone;
}

}  // namespace

void add_about_verbs(CLI::App& app, Session& session) {
  const auto add = [&](const char* name, const char* about, int (*run)(const Session&)) {
    auto* verb = app.add_subcommand(name, about);
    verb->footer("Example:\n  decklog " + std::string(name));
    verb->callback([&session, run] { session.action = [&session, run] { return run(session); }; });
  };
  add("version", "Version and build id", version);
  add("machines", "Print the state machines as Mermaid diagrams", machines);
  add("events", "Print the catalogue of event types", events);
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
