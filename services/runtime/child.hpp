// Starts one program for the keeper: own session, exact environment, no inherited descriptor, default
// signals, no new privileges, the module's user and control group; dies with the keeper. argv only, never a
// shell. Thread: single-threaded process (the keeper). Failure: what the kernel refused, with errno text:
// kInvalidArgument when the command, directory or user is not acceptable, else kIo.
#pragma once

#include <string>

#include "services/runtime/keeper_protocol.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {

// Finds the program as execvp would, in the module's own PATH. kInvalidArgument with errno text.
Result<std::string> find_program(const ProcessSpec& spec);

struct Child {
  ProcessId id;
  Fd output;  // read ends, non-blocking
  Fd errors;
};

// Returns after exec succeeded or failed. `cgroup` may be empty: then a memory limit becomes RLIMIT_AS.
Result<Child> start_child(const ProcessSpec& spec, const std::string& cgroup);

}  // namespace decklog::runtime
