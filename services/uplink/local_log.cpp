// The append-only half of LocalStore: segments of JSON lines.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <random>

#include "services/uplink/local_store.hpp"

namespace decklog::uplink {
namespace {

constexpr std::string_view kEnding = ".jsonl";
constexpr std::size_t kTailBytes = 1024 * 1024;  // of the newest segment, read for ids when a log is opened
constexpr std::string_view kIdBegin = "{\"id\":\"";

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

std::string segment_name(std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%012llu", static_cast<unsigned long long>(number));
  return text + std::string(kEnding);
}

Result<std::string> read_tail(int fd, std::uint64_t size, const std::string& path) {
  const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(size, kTailBytes));
  std::string tail(want, '\0');
  const ssize_t n = ::pread(fd, tail.data(), want, static_cast<off_t>(size - want));
  if (n < 0) return errno_error("read", path);
  tail.resize(static_cast<std::size_t>(n));
  return tail;
}

// A crash in the middle of a write leaves a line without an end. It was never acknowledged: cut it off.
Status mend(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return errno_error("stat", path);
  auto size = static_cast<std::uint64_t>(info.st_size);
  while (size > 0) {
    auto tail = read_tail(fd, size, path);
    if (!tail) return tail.error();
    const std::size_t end = tail->rfind('\n');
    if (end == tail->size() - 1) break;
    size -= end == std::string::npos ? tail->size() : tail->size() - 1 - end;
    if (end != std::string::npos) break;
  }
  if (size != static_cast<std::uint64_t>(info.st_size) && ::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    return errno_error("truncate", path);
  }
  return {};
}

}  // namespace

void LocalStore::note(std::string id) {
  if (!recent_.insert(id).second) return;
  recent_order_.push_back(std::move(id));
  if (recent_order_.size() > kDedupeIds) {
    recent_.erase(recent_order_.front());
    recent_order_.pop_front();
  }
}

Status LocalStore::remember_ids(const std::string& log) {
  auto names = list_files(log, kEnding);
  if (names.size() > 2) names.erase(names.begin(), names.end() - 2);
  for (const std::string& name : names) {
    const std::string path = log + '/' + name;
    const Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (fd.get() < 0) return errno_error("open", path);
    if (Status mended = mend(fd.get(), path); !mended) return mended;
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return errno_error("stat", path);
    auto tail = read_tail(fd.get(), static_cast<std::uint64_t>(info.st_size), path);
    if (!tail) return tail.error();
    for (std::size_t at = 0; at < tail->size();) {
      std::size_t end = tail->find('\n', at);
      if (end == std::string::npos) end = tail->size();
      const std::string_view line = std::string_view(*tail).substr(at, end - at);
      const std::size_t quote = line.starts_with(kIdBegin) ? line.find('"', kIdBegin.size()) : line.npos;
      if (quote != line.npos) note(std::string(line.substr(kIdBegin.size(), quote - kIdBegin.size())));
      at = end + 1;
    }
  }
  return {};
}

Status LocalStore::append(const std::string& log, const std::vector<Line>& lines) {
  auto lock = FileLock::take(options_.directory + "/.lock");
  if (!lock) return lock.error();
  if (Status made = make_directories(log); !made) return made;
  // A log whose folder was removed under us begins anew, and so does what we know of it.
  if (list_files(log, kEnding).empty()) {
    for (const Line& line : lines) recent_.erase(line.id);
    loaded_logs_.erase(log);
  }
  if (!loaded_logs_.contains(log)) {
    if (Status loaded = remember_ids(log); !loaded) return loaded;
    if (loaded_logs_.size() >= kDedupeIds) loaded_logs_.clear();
    loaded_logs_.insert(log);
  }
  std::string text;
  std::vector<const std::string*> fresh;
  std::unordered_set<std::string_view> in_batch;
  for (const Line& line : lines) {
    if (seen(line.id) || !in_batch.insert(line.id).second) continue;
    text += line.text;
    text += '\n';
    fresh.push_back(&line.id);
  }
  if (fresh.empty()) return {};
  if (Status written = append_text(log, text); !written) {
    loaded_logs_.erase(log);  // look again at what is really there
    return written;
  }
  for (const std::string* id : fresh) note(*id);
  return {};
}

Status LocalStore::append_text(const std::string& log, const std::string& text) {
  auto names = list_files(log, kEnding);
  std::uint64_t number = 1;
  bool fresh = names.empty();
  if (!names.empty()) {
    number = std::strtoull(names.back().c_str(), nullptr, 10);
    const auto stamp = stamp_of(log + '/' + names.back());
    if (stamp && stamp->size >= options_.segment_bytes) {
      ++number;
      fresh = true;
      drop_oldest(log);
    }
  }
  const std::string path = log + '/' + segment_name(number);
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (fd.get() < 0) return errno_error("open", path);
  struct stat before {};
  if (::fstat(fd.get(), &before) != 0) return errno_error("stat", path);
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const Error failure = errno_error("write", path);
      // Nothing of a batch that is not acknowledged stays; if even that fails, mend() finds the torn line
      // later.
      (void)!::ftruncate(fd.get(), before.st_size);
      return failure;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fdatasync(fd.get()) != 0) return errno_error("sync", path);
  if (fresh) {
    const Fd folder(::open(log.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0 || ::fsync(folder.get()) != 0) return errno_error("sync", log);
  }
  return {};
}

void LocalStore::drop_oldest(const std::string& log) const {
  auto names = list_files(log, kEnding);
  std::uint64_t total = options_.segment_bytes;  // the one about to begin
  for (const std::string& name : names) {
    if (const auto stamp = stamp_of(log + '/' + name)) total += stamp->size;
  }
  for (const std::string& name : names) {
    if (total <= options_.log_bytes_max || name == names.back()) return;
    const std::string path = log + '/' + name;
    if (const auto stamp = stamp_of(path)) total -= stamp->size;
    ::unlink(path.c_str());
  }
}

Result<std::string> LocalStore::stream_identity() {
  const std::string path = options_.directory + "/telemetry/.identity";
  auto lock = FileLock::take(options_.directory + "/.lock");
  if (!lock) return lock.error();
  auto file = read_settled(path);
  if (file) return "local@" + file->text;
  if (file.error().code != Errc::kNotFound && file.error().code != Errc::kUnavailable) return file.error();
  if (Status made = make_directories(options_.directory + "/telemetry"); !made) return made.error();
  std::random_device source;
  std::string identity;
  for (int i = 0; i < 4; ++i) identity += std::to_string(source()) + (i < 3 ? "-" : "");
  if (Status written = write_atomically(path, identity); !written) return written.error();
  return "local@" + identity;
}

}  // namespace decklog::uplink
