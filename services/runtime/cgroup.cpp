#include "services/runtime/cgroup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string_view>

#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {

constexpr std::size_t kControlFileLimitBytes = 16 << 10;
constexpr const char* kUnifiedRoot = "/sys/fs/cgroup";
constexpr const char* kMemoryRoot = "/sys/fs/cgroup/memory";

Status write_control(const std::string& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, "open " + path);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error(errno, "write " + path);
  }
  return {};
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// "name 12\n" in a flat keyed file.
std::uint64_t keyed_value(const std::string& path, std::string_view name) {
  const auto text = read_file(path, kControlFileLimitBytes);
  if (!text) return 0;
  std::string_view rest(*text);
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') continue;
    std::uint64_t value = 0;
    std::from_chars(line.data() + name.size() + 1, line.data() + line.size(), value);
    return value;
  }
  return 0;
}

Status set_limit(const std::string& group, std::uint64_t limit_bytes) {
  const std::string limit = std::to_string(limit_bytes);
  if (exists(group + "/memory.max")) {
    auto done = write_control(group + "/memory.max", limit);
    if (done && exists(group + "/memory.swap.max")) done = write_control(group + "/memory.swap.max", "0");
    return done;
  }
  auto done = write_control(group + "/memory.limit_in_bytes", limit);
  // Without swap accounting the file is not there; then swap is not limited, and the memory limit still is.
  if (done && exists(group + "/memory.memsw.limit_in_bytes")) {
    done = write_control(group + "/memory.memsw.limit_in_bytes", limit);
  }
  return done;
}

}  // namespace

Result<std::string> create_memory_cgroup(const std::string& label, std::uint64_t limit_bytes) {
  std::string root;
  if (exists(std::string(kUnifiedRoot) + "/cgroup.controllers")) {
    root = std::string(kUnifiedRoot) + "/decklog";
    (void)write_control(std::string(kUnifiedRoot) + "/cgroup.subtree_control", "+memory");
    if (auto made = make_directory(root, 0755); !made) return made.error();
    (void)write_control(root + "/cgroup.subtree_control", "+memory");
  } else if (exists(std::string(kMemoryRoot) + "/memory.limit_in_bytes")) {
    root = std::string(kMemoryRoot) + "/decklog";
    if (auto made = make_directory(root, 0755); !made) return made.error();
  } else {
    return error(Errc::kUnsupported, "no memory control group on this machine");
  }
  const std::string group = root + "/" + label;
  if (auto made = make_directory(group, 0755); !made) return made.error();
  if (auto limited = set_limit(group, limit_bytes); !limited) {
    remove_cgroup(group);
    return limited.error();
  }
  return group;
}

std::uint64_t oom_kills(const std::string& cgroup) {
  if (cgroup.empty()) return 0;
  const std::string unified = cgroup + "/memory.events";
  return exists(unified) ? keyed_value(unified, "oom_kill")
                         : keyed_value(cgroup + "/memory.oom_control", "oom_kill");
}

Status enter_cgroup(const std::string& cgroup) {
  return write_control(cgroup + "/cgroup.procs", "0");
}

void remove_cgroup(const std::string& cgroup) {
  if (!cgroup.empty()) ::rmdir(cgroup.c_str());
}

}  // namespace decklog::runtime
