#include "services/runtime/posix.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

namespace decklog::runtime {
namespace {

constexpr std::size_t kStatLimitBytes = 4096;
constexpr std::size_t kChildrenLimitBytes = 1 << 20;
constexpr std::size_t kModuleNameLimitBytes = 128;

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write " + path);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Status sync_directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error(errno, "open " + directory);
  if (::fsync(fd.get()) != 0) return errno_error(errno, "sync " + directory);
  return {};
}

}  // namespace

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Error errno_error(int error_number, const std::string& what) {
  char text[128] = {};
  const char* said = ::strerror_r(error_number, text, sizeof text);
  Errc code = Errc::kIo;
  switch (error_number) {
    case ENOENT:
    case ESRCH:
      code = Errc::kNotFound;
      break;
    case EACCES:
    case EPERM:
      code = Errc::kPermissionDenied;
      break;
    case ENOSPC:
    case EDQUOT:
      code = Errc::kNoSpace;
      break;
    default:
      break;
  }
  return error(code, what + ": " + said);
}

Result<std::string> read_file(const std::string& path, std::size_t limit_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return errno_error(errno, "open " + path);
  std::string bytes;
  char block[8192];
  for (;;) {
    const ssize_t n = ::read(fd.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "read " + path);
    if (n == 0) return bytes;
    if (bytes.size() + static_cast<std::size_t>(n) > limit_bytes) {
      return error(Errc::kTooLarge, "larger than " + std::to_string(limit_bytes) + " bytes", path);
    }
    bytes.append(block, static_cast<std::size_t>(n));
  }
}

Status write_file_atomic(const std::string& path, std::string_view bytes, Sync sync) {
  const std::string temporary = path + ".tmp";
  const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, "create " + temporary);
  Status done = write_all(fd.get(), bytes, temporary);
  if (done && sync == Sync::kBeforeRename && ::fsync(fd.get()) != 0)
    done = errno_error(errno, "sync " + temporary);
  if (done && ::rename(temporary.c_str(), path.c_str()) != 0) done = errno_error(errno, "rename to " + path);
  if (!done) {
    ::unlink(temporary.c_str());
    return done;
  }
  if (sync == Sync::kAfterRename && ::fsync(fd.get()) != 0) return errno_error(errno, "sync " + path);
  return sync_directory_of(path);
}

Status write_file_even_when_full(const std::string& path, std::string_view bytes, Sync sync) {
  Status done = write_file_atomic(path, bytes, sync);
  if (done || done.error().code != Errc::kNoSpace) return done;
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return done;
  if (auto written = write_all(fd.get(), bytes, path); !written) return written;
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes.size())) != 0) return errno_error(errno, "cut " + path);
  if (::fsync(fd.get()) != 0) return errno_error(errno, "sync " + path);
  return {};
}

Status make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
  return errno_error(errno, "make directory " + path);
}

WallTime wall_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

BootId current_boot() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return {};
  while (!text->empty() && std::isspace(static_cast<unsigned char>(text->back()))) text->pop_back();
  return BootId(*text);
}

std::optional<ProcessStat> process_stat(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", kStatLimitBytes);
  if (!text) return std::nullopt;
  // "pid (comm) S ppid pgrp session ...": comm may hold anything, so count from the last bracket.
  const auto bracket = text->rfind(')');
  if (bracket == std::string::npos || bracket + 2 >= text->size()) return std::nullopt;
  ProcessStat stat;
  stat.id.pid = pid;
  const char* at = text->data() + bracket + 2;
  stat.state = *at;
  int field = 3;
  for (const char* end = text->data() + text->size(); at < end && field <= 22; ++field) {
    std::uint64_t value = 0;
    std::from_chars(at, end, value);
    if (field == 4) stat.parent = static_cast<pid_t>(value);
    if (field == 6) stat.session = static_cast<pid_t>(value);
    if (field == 22) stat.id.start_ticks = value;
    while (at < end && *at != ' ') ++at;
    ++at;
  }
  if (field != 23) return std::nullopt;
  return stat;
}

std::vector<ProcessStat> all_processes() {
  std::vector<ProcessStat> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), &::closedir);
  if (!directory) return found;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name(entry->d_name);
    pid_t pid = 0;
    const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failed != std::errc{} || end != name.data() + name.size()) continue;
    if (auto stat = process_stat(pid)) found.push_back(*stat);
  }
  return found;
}

std::vector<ProcessStat> own_children() {
  std::vector<ProcessStat> found;
  const std::string self = std::to_string(::getpid());
  const auto list = read_file("/proc/" + self + "/task/" + self + "/children", kChildrenLimitBytes);
  if (!list) {
    found = all_processes();
    std::erase_if(found, [](const ProcessStat& process) { return process.parent != ::getpid(); });
    return found;
  }
  const char* at = list->data();
  for (const char* const end = at + list->size(); at < end; ++at) {
    pid_t pid = 0;
    at = std::from_chars(at, end, pid).ptr;
    if (auto stat = process_stat(pid)) found.push_back(*stat);
  }
  return found;
}

bool is_alive(const ProcessId& id) {
  const auto stat = process_stat(id.pid);
  return stat && stat->id == id && stat->state != 'Z' && stat->state != 'X';
}

Result<Fd> open_pidfd(const ProcessId& id) {
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  if (!fd) {
    if (errno == ENOSYS) return error(Errc::kUnsupported, "this kernel has no pidfd");
    return errno_error(errno, "pidfd of process " + std::to_string(id.pid));
  }
  // The check comes after the open: from here on the descriptor cannot mean another process.
  const auto stat = process_stat(id.pid);
  if (!stat || stat->id != id)
    return error(Errc::kNotFound, "process " + std::to_string(id.pid) + " is gone");
  return fd;
}

Status send_signal(const ProcessId& id, int signal) {
  const auto fd = open_pidfd(id);
  if (fd) {
    if (::syscall(SYS_pidfd_send_signal, fd->get(), signal, nullptr, 0) == 0) return {};
    return errno_error(errno, "signal process " + std::to_string(id.pid));
  }
  if (fd.error().code != Errc::kUnsupported) return fd.error();
  const auto stat = process_stat(id.pid);
  if (!stat || stat->id != id)
    return error(Errc::kNotFound, "process " + std::to_string(id.pid) + " is gone");
  if (::kill(id.pid, signal) == 0) return {};
  return errno_error(errno, "signal process " + std::to_string(id.pid));
}

Status check_module_name(const ModuleName& name) {
  const std::string& text = name.value;
  bool ok = !text.empty() && text.size() <= kModuleNameLimitBytes && text[0] != '.' && text[0] != '-';
  for (const char c : text) {
    ok = ok && (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-' || c == '$');
  }
  if (ok) return {};
  return error(Errc::kInvalidArgument,
               "a module name is letters, digits, '_', '.', '-' and '$', at most 128 of them", "module name");
}

}  // namespace decklog::runtime
