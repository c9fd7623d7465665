// The few operating-system calls that both runtimes and the keeper need, as Results. Linux only.
// Thread safety: values and stateless functions. Failure: kIo with errno text, kNotFound for ENOENT,
// kPermissionDenied for EACCES/EPERM, kNoSpace for ENOSPC/EDQUOT, kTooLarge when a file exceeds its limit.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::runtime {

// Owns a file descriptor.
class Fd final {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// A process that cannot be mistaken for a later one with the same pid: start time in clock ticks since boot
// (field 22 of /proc/<pid>/stat). Comparable within one boot only.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

// "<what>: <errno text>" under the code that fits.
Error errno_error(int error_number, const std::string& what);

Result<std::string> read_file(const std::string& path, std::size_t limit_bytes);

enum class Sync : std::uint8_t {
  kBeforeRename = 1,  // durable before it is visible
  kAfterRename = 2,   // visible at once, durable when the call returns
};
// tmp + rename in the same directory, mode 0600, file and directory synced.
Status write_file_atomic(const std::string& path, std::string_view bytes, Sync sync);
// The same; on a full disk over the old content, whose blocks are there already. For small files whose reader
// finds a torn one out and for which yesterday's content is worse.
Status write_file_even_when_full(const std::string& path, std::string_view bytes, Sync sync);
Status make_directory(const std::string& path, mode_t mode);  // success when it is already there

WallTime wall_now();
BootId current_boot();

struct ProcessStat {
  ProcessId id;
  char state = '?';
  pid_t parent = 0;
  pid_t session = 0;
};
std::optional<ProcessStat> process_stat(pid_t pid);
std::vector<ProcessStat> all_processes();
// Direct children of this (single-threaded) process; looks at all processes where the kernel keeps no list of
// them.
std::vector<ProcessStat> own_children();
// Exists, is the same process, and has not ended (a zombie has).
bool is_alive(const ProcessId& id);
// kUnsupported on kernels before 5.3; kNotFound when the process is gone or is another one.
Result<Fd> open_pidfd(const ProcessId& id);
// Signals exactly this process: by pidfd where there is one, else right after checking the start time.
// kNotFound when it is gone.
Status send_signal(const ProcessId& id, int signal);

// A module name may become a directory and a container name: [A-Za-z0-9_$][A-Za-z0-9_.$-]*, at most 128
// bytes. The planner refuses others with a better message; this is the last line.
Status check_module_name(const ModuleName& name);

}  // namespace decklog::runtime
