#include "persistence/journal_files.hpp"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "persistence/crc32c.hpp"
#include "persistence/journal_frame.hpp"

namespace decklog::persistence {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kIdentityMagic = "DLID0001";
constexpr std::string_view kMarkMagic = "DLHW0001";
constexpr std::size_t kMarkBytes = 8 + 8 * 3 + 1 + 4;
constexpr std::size_t kSlotBytes = 64;
constexpr std::size_t kSaltBytes = 32;
constexpr std::size_t kAsidesKept = 2;
constexpr std::string_view kAsidePrefix = "aside.";

std::string with_checksum(std::string record) {
  put_little_endian(record, crc32c(record), 4);
  return record;
}

bool checksum_holds(std::string_view record) {
  return record.size() > 4 &&
         crc32c(record.substr(0, record.size() - 4)) == get_little_endian(record.substr(record.size() - 4));
}

struct Slot {
  std::uint64_t counter = 0;
  HighWater mark;
};

std::optional<Slot> newest_slot(std::string_view file) {
  std::optional<Slot> newest;
  for (std::size_t at : {std::size_t{0}, kSlotBytes}) {
    if (file.size() < at + kMarkBytes) continue;
    const std::string_view record = file.substr(at, kMarkBytes);
    if (record.substr(0, 8) != kMarkMagic || !checksum_holds(record)) continue;
    const Slot slot{
        get_little_endian(record.substr(8, 8)),
        {get_little_endian(record.substr(16, 8)), get_little_endian(record.substr(24, 8)), record[32] != 0}};
    if (!newest || slot.counter > newest->counter) newest = slot;
  }
  return newest;
}

std::vector<std::uint64_t> aside_numbers(const fs::path& directory) {
  std::vector<std::uint64_t> numbers;
  std::error_code failure;
  for (fs::directory_iterator it(directory, failure), end; !failure && it != end; it.increment(failure)) {
    const std::string name = it->path().filename();
    if (!name.starts_with(kAsidePrefix)) continue;
    const std::string digits = name.substr(kAsidePrefix.size());
    if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos)
      continue;
    numbers.push_back(std::stoull(digits));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// The oldest go first, so that there is room for the new one.
Result<fs::path> new_aside(const fs::path& directory) {
  const auto numbers = aside_numbers(directory);
  const std::uint64_t next = numbers.empty() ? 1 : numbers.back() + 1;
  for (std::size_t i = 0; i + kAsidesKept <= numbers.size(); ++i) {
    std::error_code ignored;
    fs::remove_all(directory / (std::string(kAsidePrefix) + std::to_string(numbers[i])), ignored);
  }
  const fs::path aside = directory / (std::string(kAsidePrefix) + std::to_string(next));
  if (::mkdir(aside.c_str(), 0700) != 0) return errno_error("cannot create", aside);
  return aside;
}

}  // namespace

Error errno_error(std::string_view what, const fs::path& path) {
  const int number = errno;
  const Errc code = number == ENOSPC || number == EDQUOT  ? Errc::kNoSpace
                    : number == EACCES || number == EPERM ? Errc::kPermissionDenied
                    : number == ENOENT                    ? Errc::kNotFound
                                                          : Errc::kIo;
  return error(code, std::string(what) + ": " + std::strerror(number), path.string());
}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void FileHandle::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

// An open-file-description lock: refuses a second journal of this process too, and can be asked about without
// taking it.
Result<FileHandle> lock_directory(const fs::path& directory) {
  const fs::path path = directory / "LOCK";
  FileHandle file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return errno_error("cannot open", path);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno == EAGAIN || errno == EACCES) {
      return error(Errc::kConflict, "another writer has this journal open", directory.string());
    }
    return errno_error("cannot lock", path);
  }
  return file;
}

bool is_locked(const fs::path& directory) {
  const FileHandle file(::open((directory / "LOCK").c_str(), O_RDONLY | O_CLOEXEC));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return file && ::fcntl(file.get(), F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

std::string JournalIdentity::encode() const {
  std::string record(kIdentityMagic);
  put_little_endian(record, epoch, 8);
  record += salt;
  return with_checksum(std::move(record));
}

std::optional<JournalIdentity> JournalIdentity::decode(std::string_view bytes) {
  if (bytes.size() != kIdentityMagic.size() + 8 + kSaltBytes + 4 || !bytes.starts_with(kIdentityMagic) ||
      !checksum_holds(bytes)) {
    return std::nullopt;
  }
  return JournalIdentity{get_little_endian(bytes.substr(8, 8)), std::string(bytes.substr(16, kSaltBytes))};
}

JournalIdentity JournalIdentity::make() {
  std::string random(8 + kSaltBytes, '\0');
  DECKLOG_ASSERT(
      RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), static_cast<int>(random.size())) == 1);
  // 53 bits, so that the epoch survives a trip through JSON; never 0.
  return {(get_little_endian(random.substr(0, 8)) >> 11) | 1, random.substr(8)};
}

std::optional<JournalIdentity> read_identity(const fs::path& directory) {
  const auto bytes = read_small_file(directory / "IDENTITY", 256);
  return bytes ? JournalIdentity::decode(*bytes) : std::nullopt;
}

Status write_identity(const fs::path& directory, const JournalIdentity& identity) {
  return write_file_atomically(directory / "IDENTITY", identity.encode());
}

Result<HighWaterFile> HighWaterFile::open(const fs::path& directory) {
  const fs::path path = directory / "HIGH_WATER";
  const auto bytes = read_small_file(path, 4096);
  HighWaterFile result;
  result.file_ = FileHandle(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!result.file_) return errno_error("cannot open", path);
  if (bytes) {
    if (const auto slot = newest_slot(*bytes)) {
      result.found_ = slot->mark;
      result.counter_ = slot->counter;
    }
  }
  return result;
}

std::optional<HighWater> HighWaterFile::peek(const fs::path& directory) {
  const auto bytes = read_small_file(directory / "HIGH_WATER", 4096);
  if (!bytes) return std::nullopt;
  const auto slot = newest_slot(*bytes);
  return slot ? std::optional(slot->mark) : std::nullopt;
}

Status HighWaterFile::write(const HighWater& mark) {
  std::string record(kMarkMagic);
  put_little_endian(record, ++counter_, 8);
  put_little_endian(record, mark.epoch, 8);
  put_little_endian(record, mark.sequence, 8);
  record.push_back(mark.clean ? 1 : 0);
  record = with_checksum(std::move(record));
  const auto at = static_cast<off_t>(counter_ % 2 * kSlotBytes);
  if (::pwrite(file_.get(), record.data(), record.size(), at) != static_cast<ssize_t>(record.size())) {
    return errno_error("cannot write the high-water mark", "HIGH_WATER");
  }
  return {};
}

Status HighWaterFile::sync() {
  if (::fdatasync(file_.get()) != 0) return errno_error("cannot sync the high-water mark", "HIGH_WATER");
  return {};
}

Result<fs::path> set_aside(const fs::path& directory, std::string_view what) {
  auto aside = new_aside(directory);
  if (!aside) return aside;
  if (::rename((directory / what).c_str(), (*aside / what).c_str()) != 0) {
    return errno_error("cannot set aside", directory / what);
  }
  if (const Status synced = sync_directory(directory); synced.has_error()) return synced.error();
  return aside;
}

Result<fs::path> copy_logs_aside(const fs::path& directory) {
  auto aside = new_aside(directory);
  if (!aside) return aside;
  std::error_code failure;
  for (fs::directory_iterator it(directory / "db", failure), end; !failure && it != end;
       it.increment(failure)) {
    if (it->path().extension() != ".log") continue;
    fs::copy_file(it->path(), *aside / it->path().filename(), failure);
    if (failure) break;
  }
  if (failure) return error(Errc::kIo, failure.message(), aside->string());
  return aside;
}

Status make_reserve(const fs::path& directory) {
  const fs::path path = directory / "RESERVE";
  const FileHandle file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return errno_error("cannot create", path);
  if (const int number = ::posix_fallocate(file.get(), 0, kReserveBytes); number != 0) {
    errno = number;
    const Error failure = errno_error("cannot reserve space", path);
    ::unlink(path.c_str());
    return failure;
  }
  return {};
}

bool release_reserve(const fs::path& directory) {
  return ::unlink((directory / "RESERVE").c_str()) == 0;
}

std::uint64_t bytes_on_disk(const fs::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code failure;
  for (fs::recursive_directory_iterator it(directory, failure), end; !failure && it != end;
       it.increment(failure)) {
    struct stat status {};
    if (::lstat(it->path().c_str(), &status) == 0)
      bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return bytes;
}

std::uint64_t bytes_free(const fs::path& directory) {
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0) return 0;
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

Status sync_directory(const fs::path& directory) {
  const FileHandle handle(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle || ::fsync(handle.get()) != 0) return errno_error("cannot sync", directory);
  return {};
}

Status write_file_atomically(const fs::path& path, std::string_view bytes) {
  const fs::path temporary = path.string() + ".new";
  {
    const FileHandle file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return errno_error("cannot create", temporary);
    if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) ||
        ::fsync(file.get()) != 0) {
      return errno_error("cannot write", temporary);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return errno_error("cannot rename", path);
  return sync_directory(path.parent_path());
}

Result<std::string> read_small_file(const fs::path& path, std::size_t max_bytes) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error("cannot open", path);
  std::string bytes(max_bytes + 1, '\0');
  const ssize_t got = ::pread(file.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return errno_error("cannot read", path);
  if (static_cast<std::size_t>(got) > max_bytes)
    return error(Errc::kTooLarge, "file too large", path.string());
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

}  // namespace decklog::persistence
