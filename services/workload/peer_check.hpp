// What a "does this process belong to that module" predicate is made of. Linux /proc; any thread.
// A process that is gone, or that may not be looked at, belongs to nothing.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace decklog::workload {

// Is `pid` the process `ancestor` or below it? At most 64 generations up.
bool descends_from(pid_t pid, pid_t ancestor);

// The container (64 hex digits) whose control group a process is in, or empty.
std::string container_of(pid_t pid);
// The same from the text of /proc/<pid>/cgroup. Pure.
std::string container_in_cgroup_text(std::string_view text);

}  // namespace decklog::workload
