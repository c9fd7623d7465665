#include "services/workload/private_file.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "services/workload/crypto.hpp"

namespace decklog::workload {
namespace {

Error file_error(const std::string& what, const std::string& path) {
  const int number = errno;
  Errc code = Errc::kIo;
  if (number == ENOENT) code = Errc::kNotFound;
  if (number == EEXIST) code = Errc::kAlreadyExists;
  if (number == EACCES || number == EPERM) code = Errc::kPermissionDenied;
  if (number == ENOSPC || number == EDQUOT) code = Errc::kNoSpace;
  return error(code, what + ": " + std::strerror(number), path);
}

struct Fd final {
  explicit Fd(int fd) : raw(fd) {}
  ~Fd() {
    if (raw >= 0) ::close(raw);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int raw;
};

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

// Some file systems (FUSE, old network ones) cannot rename without replacing; a hard link does the same.
int rename_new(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (::link(from.c_str(), to.c_str()) != 0) return -1;
  return ::unlink(from.c_str());
}

}  // namespace

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::string> read_private_file(const std::string& path, std::size_t limit_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.raw < 0) return file_error("cannot open", path);
  std::string bytes(limit_bytes + 1, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t count = ::read(fd.raw, bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error("cannot read", path);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > limit_bytes) {
    return error(Errc::kTooLarge, "larger than " + std::to_string(limit_bytes) + " bytes", path);
  }
  bytes.resize(size);
  return bytes;
}

Status write_private_file(const std::string& path, std::string_view bytes, IfExists if_exists, mode_t mode) {
  // The name is ours alone: two writers at the same time must not share a half-written file.
  const std::string temporary = path + "." + to_hex(random_bytes(8)) + ".tmp";
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (fd.raw < 0) return file_error("cannot create", path);
    if (::fchmod(fd.raw, mode) != 0 || !write_all(fd.raw, bytes) || ::fsync(fd.raw) != 0) {
      Error failure = file_error("cannot write", path);
      ::unlink(temporary.c_str());
      return failure;
    }
  }
  const int renamed = if_exists == IfExists::kReplace ? ::rename(temporary.c_str(), path.c_str())
                                                      : rename_new(temporary, path);
  if (renamed != 0) {
    Error failure = file_error("cannot put in place", path);
    ::unlink(temporary.c_str());
    return failure;
  }
  const Fd directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.raw < 0 || ::fsync(directory.raw) != 0) return file_error("cannot sync the directory", path);
  return {};
}

Status make_private_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) {
    // mkdir() obeys the umask, which may take away the search right that modules need.
    if (::chmod(path.c_str(), mode) != 0) return file_error("cannot set the mode", path);
    return {};
  }
  if (errno != EEXIST) return file_error("cannot create the directory", path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return file_error("cannot look at", path);
  if (!S_ISDIR(info.st_mode)) return error(Errc::kAlreadyExists, "not a directory", path);
  return {};
}

Status make_private(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return file_error("cannot look at", path);
  if ((info.st_mode & 077) == 0) return {};
  if (::chmod(path.c_str(), info.st_mode & 0700) != 0) return file_error("cannot make private", path);
  return {};
}

}  // namespace decklog::workload
