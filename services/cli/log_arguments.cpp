#include "services/cli/log_arguments.hpp"

namespace decklog::cli {

const char* service_of(const LogArguments& arguments) {
  if (!arguments.service.empty()) return arguments.service.c_str();
  return arguments.module.starts_with("client/") ? "hub" : "agent";
}

Result<std::shared_ptr<persistence::JournalReader>> open(const Session& session,
                                                         const LogArguments& arguments) {
  const auto path = session.journal_directory(service_of(arguments));
  if (!path) return path.error();
  auto log = audit::open_log(*path);
  if (!log && log.error().code == Errc::kNotFound && session.journal.empty()) {
    return error(Errc::kNotFound,
                 log.error().message + "; name the configuration with --config or a log with --journal",
                 *path);
  }
  return log;
}

CLI::App* add_log_verb(CLI::App& app, Session& session, const std::shared_ptr<LogArguments>& arguments,
                       const char* verb, const char* about, LogRun run) {
  auto* sub = app.add_subcommand(verb, about);
  sub->add_option("--journal", session.journal,
                  "journal directory (live or copied) or exported bundle; default: this device's");
  sub->add_option("--service", arguments->service,
                  "whose journal of this device: agent or hub; default: whose stream it is")
      ->check(CLI::IsMember({"agent", "hub"}));
  sub->callback([&session, arguments, run] {
    session.action = [&session, arguments, run] { return run(session, *arguments); };
  });
  return sub;
}

void add_range_options(CLI::App& verb, LogArguments& arguments) {
  verb.add_option("--from", arguments.from, "first sequence");
  verb.add_option("--to", arguments.to, "last sequence");
}

}  // namespace decklog::cli
