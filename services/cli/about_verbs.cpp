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

// Verb names for bash, and bash-completion emulation for zsh: enough to find one's way.
int completion(const CLI::App& app) {
  std::string verbs;
  for (const auto* verb : app.get_subcommands(
           [](const CLI::App* sub) { return !sub->get_name().empty() && sub->get_group() != ""; }))
    verbs += verb->get_name() + " ";
  std::printf(
      "# bash: source <(decklog completion)   zsh: autoload -U bashcompinit && bashcompinit, then the same\n"
      "_decklog() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" verb=\"${COMP_WORDS[1]}\"\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then COMPREPLY=($(compgen -W \"%s\" -- \"$word\")); return; fi\n"
      "  case \"$verb\" in\n"
      "    why|logs|restart|stop|start|history)\n"
      "      local names; names=$(decklog list --json 2>/dev/null | tr '{' '\\n' | sed -n "
      "'s/.*\"name\":\"\\([^\"]*\\)\".*/\\1/p')\n"
      "      COMPREPLY=($(compgen -W \"$names\" -- \"$word\")) ;;\n"
      "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
      "  esac\n"
      "}\n"
      "complete -F _decklog decklog\n",
      verbs.c_str());
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
  app.add_subcommand("completion", "Print a completion script for bash and zsh")->callback([&session, &app] {
    session.action = [&app] { return completion(app); };
  });
}

}  // namespace decklog::cli
