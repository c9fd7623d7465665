#include "services/uplink/local_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace decklog::uplink {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("write", path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

FileStamp stamp(const struct stat& info) {
  return {info.st_ino, std::int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec,
          static_cast<std::uint64_t>(info.st_size)};
}

template <class Keep>
std::vector<std::string> list(const std::string& folder, Keep keep) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(folder.c_str());
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.front() == '.') continue;
    struct stat info {};
    if (::stat((folder + '/' + name).c_str(), &info) == 0 && keep(name, info)) names.push_back(name);
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Error errno_error(const std::string& what, const std::string& path) {
  const int number = errno;
  const Errc code = number == ENOENT                       ? Errc::kNotFound
                    : number == ENOSPC || number == EDQUOT ? Errc::kNoSpace
                    : number == ENAMETOOLONG               ? Errc::kInvalidArgument
                                                           : Errc::kIo;
  return error(code, what + ": " + std::strerror(number), path);
}

Status make_directories(const std::string& path) {
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return errno_error("make directory", part);
  }
  return {};
}

Status write_atomically(const std::string& path, std::string_view text) {
  static std::atomic<std::uint64_t> counter{0};
  const std::string folder = folder_of(path);
  const std::string temporary =
      folder + "/.tmp-" + std::to_string(::getpid()) + '-' + std::to_string(counter.fetch_add(1));
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (fd.get() < 0) return errno_error("create", temporary);
    Status written = write_all(fd.get(), text, temporary);
    if (written && ::fsync(fd.get()) != 0) written = errno_error("sync", temporary);
    if (!written) {
      ::unlink(temporary.c_str());
      return written;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const Error failure = errno_error("rename", path);
    ::unlink(temporary.c_str());
    return failure;
  }
  const Fd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return errno_error("sync", folder);
  return {};
}

std::optional<FileStamp> stamp_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return stamp(info);
}

Result<FileText> read_settled(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return errno_error("open", path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_error("stat", path);
  if (!S_ISREG(info.st_mode)) return error(Errc::kInvalidArgument, "not a regular file", path);
  // A read lease is granted only while nobody has the file open for writing, and holds writers off until we
  // are done. Where leases are not to be had (not our file, not this file system) the closing of the file is
  // all we go by. The signal of a broken lease is moved from SIGIO, which kills, to SIGURG, which does
  // nothing.
  ::fcntl(fd.get(), F_SETSIG, SIGURG);
  const bool leased = ::fcntl(fd.get(), F_SETLEASE, F_RDLCK) == 0;
  if (!leased && errno == EAGAIN) return error(Errc::kUnavailable, "still being written", path);
  if (::fstat(fd.get(), &info) != 0) return errno_error("stat", path);
  if (info.st_size == 0) return error(Errc::kUnavailable, "still empty", path);
  if (static_cast<std::uint64_t>(info.st_size) > kMaxDocumentBytes)
    return error(Errc::kTooLarge, "the file is too large", path);
  FileText out;
  out.stamp = stamp(info);
  out.text.resize(static_cast<std::size_t>(info.st_size));
  std::size_t have = 0;
  while (have < out.text.size()) {
    const ssize_t n = ::read(fd.get(), out.text.data() + have, out.text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read", path);
    if (n == 0) return error(Errc::kUnavailable, "changed while it was read", path);
    have += static_cast<std::size_t>(n);
  }
  return out;
}

std::vector<std::string> list_files(const std::string& folder, std::string_view ending) {
  return list(folder, [ending](const std::string& name, const struct stat& info) {
    return S_ISREG(info.st_mode) && std::string_view(name).ends_with(ending);
  });
}

std::vector<std::string> list_folders(const std::string& folder) {
  return list(folder, [](const std::string&, const struct stat& info) { return S_ISDIR(info.st_mode); });
}

Result<FileLock> FileLock::take(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return errno_error("open", path);
  FileLock lock(fd);
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) return errno_error("lock", path);
  }
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    out += kDigits[digest[i] >> 4];
    out += kDigits[digest[i] & 15];
  }
  return out;
}

bool valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80       ? 1
                               : lead >> 5 == 6  ? 2
                               : lead >> 4 == 14 ? 3
                               : lead >> 3 == 30 ? 4
                                                 : 0;
    if (length == 0 || i + length > text.size()) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0x7fu >> length);
    for (std::size_t j = 1; j < length; ++j) {
      const auto next = static_cast<unsigned char>(text[i + j]);
      if (next >> 6 != 2) return false;
      point = point << 6 | (next & 63u);
    }
    constexpr std::array<std::uint32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
    if (point < kLeast[length] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

std::string to_base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<std::string> from_base64(std::string_view text) {
  std::string out(text.size() / 4 * 3 + 3, '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0 || text.size() % 4 != 0) return error(Errc::kMalformed, "not base64");
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(static_cast<std::size_t>(size) - padding);
  return out;
}

}  // namespace decklog::uplink
