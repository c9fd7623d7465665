// The agent as a process: opens the journal, the keys, the runtimes and the uplink that the configuration
// names, runs the agent until SIGTERM or SIGINT, and goes in order. Modules keep running when it ends.
#pragma once

#include <string>

#include "services/config/config.hpp"

namespace decklog::agent {

struct ProgramPaths {
  std::string program;      // this binary: keepers and the hub are started from it
  std::string config_file;  // handed on to the hub
};

// Exit status: 0 = ended in order, 1 = could not start (said on stderr).
int run_agent(const config::Config& config, const ProgramPaths& paths);

}  // namespace decklog::agent
