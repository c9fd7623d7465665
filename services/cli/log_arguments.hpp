// What the verbs that read a log have in common: where it is, which part of it. Private to services/cli.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/audit/log_source.hpp"
#include "services/cli/cli.hpp"

namespace decklog::cli {

struct LogArguments {
  std::string service, module, type, kind, since, until, at, output, path, other;
  std::uint64_t from = 0, to = 0, last = 0, most = 10;
  std::vector<std::string> breakpoints, changes;
  bool steps = false;
};

// Whose journal: as asked, else the one that holds the stream; only the hub has clients.
const char* service_of(const LogArguments& arguments);

Result<std::shared_ptr<persistence::JournalReader>> open(const Session& session,
                                                         const LogArguments& arguments);

using LogRun = int (*)(const Session&, const LogArguments&);
CLI::App* add_log_verb(CLI::App& app, Session& session, const std::shared_ptr<LogArguments>& arguments,
                       const char* verb, const char* about, LogRun run);
void add_range_options(CLI::App& verb, LogArguments& arguments);  // --from, --to

}  // namespace decklog::cli
