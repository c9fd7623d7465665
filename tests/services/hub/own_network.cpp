#include "tests/services/hub/own_network.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace decklog::hub::test {
namespace {

// As root of a user namespace of our own: what an ordinary user may do.
bool enter_as_user() {
  const auto uid = ::geteuid(), gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " + std::to_string(uid) + " 1";
  std::ofstream("/proc/self/gid_map") << "0 " + std::to_string(gid) + " 1";
  return true;
}

bool bring_loopback_up() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool up = ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  ::close(fd);
  return up;
}

}  // namespace

bool enter_own_network() {
  return (::unshare(CLONE_NEWNET) == 0 || enter_as_user()) && bring_loopback_up();
}

}  // namespace decklog::hub::test
