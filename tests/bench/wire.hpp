// As much MQTT 3.1.1 as the load driver and the limit brokers need: frames in, packets out, sockets. Not the
// product's codec on purpose, so that a mistake in that one cannot hide in the measurement.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace decklog::bench {

inline constexpr std::size_t kReadBytes = 256u << 10;

[[noreturn]] inline void die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

inline std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Frame {
  std::uint8_t head = 0;
  std::string_view body;
  std::size_t size = 0;  // of the whole packet; 0 = not all of it is here
};

inline Frame next_frame(std::string_view bytes) {
  std::size_t length = 0, at = 1;
  for (int shift = 0; at < bytes.size() && shift < 28; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(bytes[at++]);
    length |= static_cast<std::size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) != 0) continue;
    if (bytes.size() - at < length) return {};
    return {static_cast<std::uint8_t>(bytes[0]), bytes.substr(at, length), at + length};
  }
  return {};
}

inline void put16(std::string& to, std::size_t value) {
  to.push_back(static_cast<char>(value >> 8));
  to.push_back(static_cast<char>(value));
}
inline std::uint16_t get16(std::string_view from) {
  return static_cast<std::uint16_t>(static_cast<std::uint8_t>(from[0]) << 8 |
                                    static_cast<std::uint8_t>(from[1]));
}
inline void put_text(std::string& to, std::string_view text) {
  put16(to, text.size());
  to.append(text);
}
inline std::string packet(std::uint8_t head, std::string_view body) {
  std::string made(1, static_cast<char>(head));
  std::size_t left = body.size();
  do {
    made.push_back(static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
    left >>= 7;
  } while (left != 0);
  return made.append(body);
}
inline std::string connect_packet(std::string_view client_id, bool clean) {
  std::string body;
  put_text(body, "MQTT");
  body.push_back(4);
  body.push_back(clean ? 2 : 0);
  put16(body, 0);
  put_text(body, client_id);
  return packet(0x10, body);
}
inline std::string subscribe_packet(std::string_view filter, int qos) {
  std::string body;
  put16(body, 1);
  put_text(body, filter);
  body.push_back(static_cast<char>(qos));
  return packet(0x82, body);
}
inline void append_puback(std::string& to, std::uint16_t id) {
  to.append("\x40\x02", 2);
  put16(to, id);
}

inline sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
inline void set_no_delay(int socket) {
  const int one = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
inline void set_non_blocking(int socket) {
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
}

// Sends what it can; what is left stays in `out`. False when the peer is gone.
inline bool send_some(int socket, std::string& out) {
  std::size_t sent = 0;
  while (sent < out.size()) {
    const auto got = ::send(socket, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != EAGAIN) return false;
    if (got < 0) break;
    sent += static_cast<std::size_t>(got);
  }
  out.erase(0, sent);
  return true;
}

// Reads once and hands every whole packet to `take`. False when the peer is gone.
template <class Take>
bool read_frames(int socket, std::string& partial, Take take) {
  static std::string buffer(kReadBytes, '\0');
  std::memcpy(buffer.data(), partial.data(), partial.size());
  const auto got = ::recv(socket, buffer.data() + partial.size(), buffer.size() - partial.size(), 0);
  if (got == 0) return false;
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  std::string_view bytes(buffer.data(), partial.size() + static_cast<std::size_t>(got));
  while (true) {
    const Frame frame = next_frame(bytes);
    if (frame.size == 0) break;
    take(frame);
    bytes.remove_prefix(frame.size);
  }
  partial.assign(bytes);
  return true;
}

}  // namespace decklog::bench
