// A file system that can lose its power: a loop device with ext4 whose unsynced writes are gone after cut().
// Needs root and mkfs.ext4. Taken down with the object; no process may use it by then.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/types.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/child_process.hpp"

namespace decklog::fixture {

class PowerDisk final {
 public:
  explicit PowerDisk(const std::filesystem::path& directory, off_t bytes = off_t{96} << 20)
      : image_(directory / "disk.img"), mount_(directory / "mnt") {
    static const bool own_mounts =
        ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    std::filesystem::create_directory(mount_);
    const Handle made(::open(image_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ready_ = own_mounts && made.fd >= 0 && ::ftruncate(made.fd, bytes) == 0 &&
             run({"mkfs.ext4", "-q", "-F", image_}) && on();
  }
  ~PowerDisk() { off(); }
  PowerDisk(const PowerDisk&) = delete;
  PowerDisk& operator=(const PowerDisk&) = delete;

  bool ready() const { return ready_; }
  const std::filesystem::path& path() const { return mount_; }

  bool on() { return mounted_ = run({"mount", "-o", "loop", image_, mount_}); }
  void off() {
    const bool was_on = std::exchange(mounted_, false);
    EXPECT_TRUE(!was_on || run({"umount", mount_}));
  }
  // Drops everything that is not on the platter, the file system's own journal included, as a power cut does.
  bool cut() {
    constexpr unsigned long kGoingDown = _IOR('X', 125, __u32);
    __u32 without_log_flush = 2;
    const Handle root(::open(mount_.c_str(), O_RDONLY | O_CLOEXEC));
    return root.fd >= 0 && ::ioctl(root.fd, kGoingDown, &without_log_flush) == 0;
  }

 private:
  struct Handle {
    explicit Handle(int handle) : fd(handle) {}
    ~Handle() {
      if (fd >= 0) ::close(fd);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    int fd;
  };
  static bool run(const std::vector<std::string>& command) {
    ChildProcess child;
    return child.start(command) && child.wait() == 0;
  }

  std::filesystem::path image_, mount_;
  bool mounted_ = false, ready_ = false;
};

}  // namespace decklog::fixture
