#include "services/runtime/watcher.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {
constexpr std::size_t kEventBufferBytes = 16 << 10;
constexpr std::uint32_t kMask = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR;
}  // namespace

DirectoryWatcher::DirectoryWatcher(boost::asio::any_io_executor executor) : descriptor_(executor) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd >= 0) descriptor_.assign(fd);
}

DirectoryWatcher::~DirectoryWatcher() {
  close();
}

void DirectoryWatcher::close() {
  boost::system::error_code ignored;
  descriptor_.close(ignored);
  watches_.clear();
}

Result<std::shared_ptr<void>> DirectoryWatcher::watch(const std::string& directory, Changed changed) {
  if (!descriptor_.is_open()) return error(Errc::kIo, "no inotify instance left");
  const int id = ::inotify_add_watch(descriptor_.native_handle(), directory.c_str(), kMask);
  if (id < 0) return errno_error(errno, "watch " + directory);
  auto entry = std::make_shared<Changed>(std::move(changed));
  watches_[id].push_back(entry);
  if (!reading_) read_next();
  return std::shared_ptr<void>(entry.get(), [weak = weak_from_this(), id, entry](void*) {
    *entry = nullptr;
    const auto self = weak.lock();
    if (!self) return;
    const auto found = self->watches_.find(id);
    if (found == self->watches_.end()) return;
    // Not there = the kernel gave the number to another directory after this one was removed.
    if (std::erase(found->second, entry) == 0 || !found->second.empty()) return;
    self->watches_.erase(found);
    if (self->descriptor_.is_open()) ::inotify_rm_watch(self->descriptor_.native_handle(), id);
  });
}

void DirectoryWatcher::read_next() {
  reading_ = true;
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [weak = weak_from_this()](const boost::system::error_code& failed) {
                           const auto self = weak.lock();
                           if (failed || !self || !self->descriptor_.is_open()) return;
                           alignas(inotify_event) char buffer[kEventBufferBytes];
                           const ssize_t n = ::read(self->descriptor_.native_handle(), buffer, sizeof buffer);
                           if (n > 0) self->deliver(buffer, static_cast<std::size_t>(n));
                           self->reading_ = false;
                           if (self->descriptor_.is_open()) self->read_next();
                         });
}

void DirectoryWatcher::deliver(const char* bytes, std::size_t size) {
  std::size_t at = 0;
  while (at + sizeof(inotify_event) <= size) {
    inotify_event event{};
    std::memcpy(&event, bytes + at, sizeof event);
    const char* name = bytes + at + sizeof event;
    at += sizeof event + event.len;
    std::vector<std::shared_ptr<Changed>> told;
    if (event.mask & IN_Q_OVERFLOW) {
      // Something was lost: all may have changed.
      for (const auto& [id, entries] : watches_) told.insert(told.end(), entries.begin(), entries.end());
    } else if (const auto found = watches_.find(event.wd); found != watches_.end()) {
      told = found->second;
      if (event.mask & IN_IGNORED) watches_.erase(found);
    }
    const std::string text = event.len > 0 ? std::string(name, ::strnlen(name, event.len)) : std::string();
    for (const auto& entry : told) {
      if (const Changed changed = *entry) changed(text);
    }
  }
}

}  // namespace decklog::runtime
