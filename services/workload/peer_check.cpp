#include "services/workload/peer_check.hpp"

#include <cstdlib>

#include "services/workload/private_file.hpp"

namespace decklog::workload {
namespace {

constexpr int kGenerations = 64;
constexpr std::size_t kProcFileBytes = 64 * 1024;
constexpr std::size_t kContainerIdDigits = 64;

// Field 4 of /proc/<pid>/stat; the name in field 2 may hold anything, so it is counted from its last bracket.
// 0 = gone.
pid_t parent_of(pid_t pid) {
  const auto text = read_private_file("/proc/" + std::to_string(pid) + "/stat", kProcFileBytes);
  if (!text) return 0;
  const auto bracket = text->rfind(')');
  if (bracket == std::string::npos || bracket + 4 >= text->size()) return 0;
  return static_cast<pid_t>(std::strtol(text->c_str() + bracket + 4, nullptr, 10));
}

}  // namespace

bool descends_from(pid_t pid, pid_t ancestor) {
  for (int i = 0; i < kGenerations && pid > 0; ++i) {
    if (pid == ancestor) return true;
    pid = parent_of(pid);
  }
  return false;
}

std::string container_of(pid_t pid) {
  if (pid <= 0) return {};
  const auto text = read_private_file("/proc/" + std::to_string(pid) + "/cgroup", kProcFileBytes);
  return text ? container_in_cgroup_text(*text) : std::string();
}

std::string container_in_cgroup_text(std::string_view text) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  std::size_t run = 0;
  std::string found;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && is_hex(text[i])) {
      ++run;
      continue;
    }
    // The innermost one: a container in a container belongs to itself.
    if (run == kContainerIdDigits) found = text.substr(i - run, run);
    run = 0;
  }
  return found;
}

}  // namespace decklog::workload
