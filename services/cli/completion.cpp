// Completion scripts made from the command line itself, so that they know every verb and option there is.
#include "services/cli/cli.hpp"

namespace decklog::cli {
namespace {

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
}

std::string options_of(const CLI::App& app) {
  std::string words;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) words += "--" + name + " ";
  }
  return words;
}

bool takes_module(const CLI::App& verb) {
  for (const auto* option : verb.get_options()) {
    if (option->get_name(true) == "MODULE") return true;
  }
  return false;
}

constexpr const char* kModules =
    "decklog list --json 2>/dev/null | tr '{' '\\n' | sed -n 's/.*\"name\":\"\\([^\"]*\\)\".*/\\1/p'";

std::string words_of(const CLI::App& verb) {
  std::string words;
  for (const auto* sub : verbs_of(verb)) words += sub->get_name() + " ";
  return words + options_of(verb);
}

std::string bash(const CLI::App& app) {
  std::string names, cases;
  for (const auto* verb : verbs_of(app)) {
    names += verb->get_name() + " ";
    cases += "    " + verb->get_name() + ") words=\"" + words_of(*verb) + "\"";
    if (takes_module(*verb)) cases += "; [[ $word == -* ]] || words=$(" + std::string(kModules) + ")";
    cases += " ;;\n";
  }
  return "_decklog() {\n"
         "  local word=\"${COMP_WORDS[COMP_CWORD]}\" verb=\"\" words=\"\" i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case \"${COMP_WORDS[i]}\" in\n"
         "      -c|--config|--socket) ((i++)) ;;\n"
         "      -*) ;;\n"
         "      *) verb=\"${COMP_WORDS[i]}\"; break ;;\n"
         "    esac\n"
         "  done\n"
         "  case \"$verb\" in\n"
         "    '') words=\"" +
         names + options_of(app) + "\" ;;\n" + cases +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  [[ -n $verb && ${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- \"$word\"))\n"
         "}\n"
         "complete -F _decklog decklog\n";
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("\\'") : std::string(1, c);
  return out + "'";
}

std::string fish(const CLI::App& app) {
  std::string out;
  for (const auto* verb : verbs_of(app)) {
    const std::string name = verb->get_name(), used = "__fish_seen_subcommand_from " + name;
    out += "complete -c decklog -n __fish_use_subcommand -f -a " + name + " -d " +
           quoted(verb->get_description()) + "\n";
    for (const auto* sub : verbs_of(*verb))
      out += "complete -c decklog -n '" + used + "' -f -a " + sub->get_name() + " -d " +
             quoted(sub->get_description()) + "\n";
    for (const auto* option : verb->get_options()) {
      for (const auto& word : option->get_lnames())
        out += "complete -c decklog -n '" + used + "' -l " + word + " -d " +
               quoted(option->get_description()) + "\n";
    }
    if (takes_module(*verb))
      out += "complete -c decklog -n '" + used + "' -f -a \"(" + [] {
        std::string text = kModules;
        for (std::size_t at = 0; (at = text.find_first_of("\"\\$", at)) != std::string::npos; at += 2)
          text.insert(at, "\\");
        return text;
      }() + ")\"\n";
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
  if (shell == "fish") return fish(app);
  const std::string script = bash(app);
  if (shell == "bash") return script;
  // zsh runs bash's own script.
  return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + script;
}

}  // namespace decklog::cli
