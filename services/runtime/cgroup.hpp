// A control group of a module's own, for its memory limit and to learn that the kernel's OOM killer ended it.
// cgroup v2 (memory.max, memory.events) or v1 (memory.limit_in_bytes, memory.oom_control), whichever the
// machine has. Needs root; create() then answers an empty path and the caller falls back to RLIMIT_AS.
#pragma once

#include <cstdint>
#include <string>

#include "events/result.hpp"

namespace decklog::runtime {

// Path of the new group, or why there is none (kUnsupported, kPermissionDenied, kIo).
Result<std::string> create_memory_cgroup(const std::string& label, std::uint64_t limit_bytes);
// How often the OOM killer struck in the group.
std::uint64_t oom_kills(const std::string& cgroup);
// For the child, before exec.
Status enter_cgroup(const std::string& cgroup);
void remove_cgroup(const std::string& cgroup);

}  // namespace decklog::runtime
