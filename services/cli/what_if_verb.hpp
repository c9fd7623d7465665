// `decklog replay --what-if`: a recorded life lived again with changes. Private to services/cli.
#pragma once

#include "services/cli/log_arguments.hpp"

namespace decklog::cli {

void add_what_if_option(CLI::App& replay, LogArguments& arguments);
int what_if(const Session& session, const LogArguments& arguments);

}  // namespace decklog::cli
