#include "services/http/listener.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace decklog::http {
namespace {

Error system_error(const std::string& what, const std::string& where) {
  const int number = errno;
  Errc code = Errc::kIo;
  if (number == EACCES || number == EPERM) code = Errc::kPermissionDenied;
  if (number == EADDRINUSE) code = Errc::kAlreadyExists;
  if (number == ENOENT) code = Errc::kNotFound;
  return error(code, what + ": " + std::strerror(number), where);
}

Error close_with(int fd, Error failure) {
  ::close(fd);
  return failure;
}

// A file left by a process that was killed is in the way; a socket that answers is not ours to take.
Status clear_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode))
    return error(Errc::kAlreadyExists, "a file that is not a socket is in the way", path);
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return system_error("socket", path);
  const int result = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int number = errno;
  ::close(probe);
  if (result == 0 || number == EAGAIN)
    return error(Errc::kAlreadyExists, "another process listens there", path);
  if (number != ECONNREFUSED) return error(Errc::kIo, std::string("connect: ") + std::strerror(number), path);
  if (::unlink(path.c_str()) != 0) return system_error("cannot remove the old socket", path);
  return {};
}

}  // namespace

Result<ListeningSocket> open_unix_listener(const std::string& path, const UnixAccess& access) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return error(Errc::kInvalidArgument,
                 "a socket path has 1 to " + std::to_string(sizeof(address.sun_path) - 1) + " bytes", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (auto cleared = clear_stale(path, address); !cleared) return cleared.error();
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return system_error("socket", path);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return close_with(fd, system_error("cannot bind", path));
  }
  // Before listen(): until then a connect is refused, so nobody gets in under the wider mode of the umask.
  const bool owned = !access.uid && !access.gid;
  if (::chmod(path.c_str(), access.mode) != 0 ||
      (!owned && ::lchown(path.c_str(), access.uid.value_or(static_cast<uid_t>(-1)),
                          access.gid.value_or(static_cast<gid_t>(-1))) != 0) ||
      ::listen(fd, SOMAXCONN) != 0) {
    Error failure = system_error("cannot set mode and owner of the socket", path);
    ::unlink(path.c_str());
    return close_with(fd, std::move(failure));
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return close_with(fd, system_error("stat", path));
  return ListeningSocket{fd, AF_UNIX, 0, path, info.st_ino};
}

Result<ListeningSocket> open_tcp_listener(const std::string& address, std::uint16_t port) {
  const std::string where = address + ":" + std::to_string(port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || !found) {
    return error(Errc::kInvalidArgument, "not an IP address", where);
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard(found, ::freeaddrinfo);
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return system_error("socket", where);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, SOMAXCONN) != 0) {
    return close_with(fd, system_error("cannot listen", where));
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  const std::uint16_t got = found->ai_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                                         : reinterpret_cast<sockaddr_in*>(&bound)->sin_port;
  return ListeningSocket{fd, found->ai_family, ntohs(got), {}, 0};
}

void remove_socket_file(const ListeningSocket& socket) {
  struct stat info {};
  if (socket.path.empty() || ::lstat(socket.path.c_str(), &info) != 0 || info.st_ino != socket.inode) return;
  ::unlink(socket.path.c_str());
}

Peer peer_of(int fd, int family) {
  Peer peer;
  if (family == AF_UNIX) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    peer.address = "unix";
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
      peer.credentials = PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
    }
    return peer;
  }
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  char host[INET6_ADDRSTRLEN] = {};
  char port[8] = {};
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
      ::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
    peer.address = (family == AF_INET6 ? "[" + std::string(host) + "]:" : std::string(host) + ":") + port;
  }
  return peer;
}

}  // namespace decklog::http
