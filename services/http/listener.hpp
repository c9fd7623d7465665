// Private to this folder: listening sockets, made with the mode and owner asked for before anybody can
// connect.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <string>

#include "services/http/server.hpp"

namespace decklog::http {

struct ListeningSocket {
  int fd = -1;
  int family = 0;
  std::uint16_t port = 0;  // TCP
  std::string path;        // unix
  ino_t inode = 0;         // of the socket file: ours to remove, and only ours
};

Result<ListeningSocket> open_unix_listener(const std::string& path, const UnixAccess& access);
Result<ListeningSocket> open_tcp_listener(const std::string& address, std::uint16_t port);
// Removes the socket file if it is still the one we made.
void remove_socket_file(const ListeningSocket& socket);
Peer peer_of(int fd, int family);

}  // namespace decklog::http
