#include "services/uplink/local_notify.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace decklog::uplink {

LocalNotify::LocalNotify(boost::asio::any_io_executor executor, std::function<void()> changed)
    : descriptor_(executor), changed_(std::move(changed)) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  boost::system::error_code failure;
  if (fd >= 0) descriptor_.assign(fd, failure);
}

void LocalNotify::watch(const std::string& folder, What what) {
  if (!descriptor_.is_open() || watches_.contains(folder)) return;
  const std::uint32_t mask = IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
                             IN_ONLYDIR | (what == What::kFiles ? IN_CLOSE_WRITE : IN_CREATE | IN_ATTRIB);
  const int id = ::inotify_add_watch(descriptor_.native_handle(), folder.c_str(), mask);
  if (id >= 0) watches_[folder] = id;
}

void LocalNotify::start() {
  if (descriptor_.is_open()) wait();
}

void LocalNotify::stop() {
  changed_ = nullptr;
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

void LocalNotify::wait() {
  descriptor_.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [weak = weak_from_this()](boost::system::error_code failure) {
        auto self = weak.lock();
        if (failure || !self || !self->changed_) return;
        alignas(inotify_event) std::array<char, 8192> buffer;
        ssize_t n = 0;
        while ((n = ::read(self->descriptor_.native_handle(), buffer.data(), buffer.size())) > 0) {
          for (ssize_t at = 0; at < n;) {
            inotify_event event;
            std::memcpy(&event, buffer.data() + at, sizeof event);
            at += static_cast<ssize_t>(sizeof event + event.len);
            // The folder is gone or elsewhere: its watch says nothing more about this path.
            if ((event.mask & (IN_IGNORED | IN_MOVE_SELF)) != 0) {
              std::erase_if(self->watches_, [gone = event.wd](const auto& w) { return w.second == gone; });
            }
          }
        }
        const auto changed = self->changed_;
        changed();
        if (self->changed_) self->wait();
      });
}

}  // namespace decklog::uplink
