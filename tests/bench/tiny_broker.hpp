// The least that can be called a broker, as an upper bound for real ones: one thread, epoll, every subscriber
// gets every message, one write per connection and turn. nullbroker answers at once; durbroker asks a disk.
#pragma once

#include <sys/epoll.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tests/bench/wire.hpp"

namespace decklog::bench {

struct Peer {
  int socket = -1;
  bool subscriber = false;
  int qos = 0;
  std::uint16_t next_id = 0;
  std::string in, out;
};

class TinyBroker {
 public:
  // Called for each PUBLISH; the broker program decides when to forward() and to acknowledge.
  std::function<void(Peer&, const Frame&)> on_publish;
  std::function<void()> on_acknowledged;  // a subscriber's PUBACK
  std::function<void()> on_wake;          // the descriptor given to watch() is readable
  std::function<void()> on_turn_end;

  explicit TinyBroker(int port) : epoll_(::epoll_create1(0)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int one = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const auto address = loopback(port);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("bind");
    if (::listen(listener_, 1024) != 0) die("listen");
    add(listener_);
  }
  void watch(int descriptor) {
    wake_ = descriptor;
    add(descriptor);
  }

  // `publish` is a PUBLISH packet's frame at QoS 1 or 0; each subscriber gets it at its own QoS.
  void forward(int qos, std::string_view topic, std::string_view payload) {
    for (auto& peer : peers_) {
      if (!peer || !peer->subscriber) continue;
      const int granted = std::min(qos, peer->qos);
      const std::size_t length = 2 + topic.size() + (granted > 0 ? 2 : 0) + payload.size();
      std::string& out = peer->out;
      out.push_back(static_cast<char>(0x30 | granted << 1));
      std::size_t left = length;
      do {
        out.push_back(static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
        left >>= 7;
      } while (left != 0);
      put_text(out, topic);
      if (granted > 0) put16(out, ++peer->next_id == 0 ? ++peer->next_id : peer->next_id);
      out.append(payload);
    }
  }

  [[noreturn]] void run() {
    epoll_event events[256];
    while (true) {
      const int count = ::epoll_wait(epoll_, events, 256, -1);
      for (int i = 0; i < count; ++i) {
        const int descriptor = events[i].data.fd;
        if (descriptor == listener_) {
          accept_one();
        } else if (descriptor == wake_) {
          on_wake();
        } else if (auto& peer = peers_[static_cast<std::size_t>(descriptor)]; peer) {
          if (!read_frames(descriptor, peer->in, [&](const Frame& frame) { take(*peer, frame); }))
            drop(descriptor);
        }
      }
      if (on_turn_end) on_turn_end();
      for (auto& peer : peers_) {
        if (peer && !peer->out.empty() && !send_some(peer->socket, peer->out)) drop(peer->socket);
      }
    }
  }
  Peer* peer(int socket) { return peers_[static_cast<std::size_t>(socket)].get(); }

 private:
  void add(int descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
  }
  void accept_one() {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (socket < 0) return;
    set_no_delay(socket);
    if (peers_.size() <= static_cast<std::size_t>(socket))
      peers_.resize(static_cast<std::size_t>(socket) + 1);
    peers_[static_cast<std::size_t>(socket)] = std::make_unique<Peer>();
    peers_[static_cast<std::size_t>(socket)]->socket = socket;
    add(socket);
  }
  void drop(int socket) {
    ::close(socket);
    peers_[static_cast<std::size_t>(socket)].reset();
  }
  void take(Peer& peer, const Frame& frame) {
    switch (frame.head >> 4) {
      case 1:
        peer.out.append("\x20\x02\x00\x00", 4);
        break;
      case 3:
        on_publish(peer, frame);
        break;
      case 4:
        if (on_acknowledged) on_acknowledged();
        break;
      case 8:
        peer.subscriber = true;
        peer.qos = frame.body.back();
        peer.out.append("\x90\x03", 2);
        peer.out.append(frame.body.substr(0, 2));
        peer.out.push_back(static_cast<char>(peer.qos));
        break;
      case 12:
        peer.out.append("\xd0\x00", 2);
        break;
      default:
        break;
    }
  }

  int epoll_;
  int listener_;
  int wake_ = -1;
  std::vector<std::unique_ptr<Peer>> peers_;
};

struct PublishParts {
  int qos;
  std::string_view topic, payload;
  std::uint16_t id;
};
inline PublishParts parts_of(const Frame& frame) {
  const std::size_t topic = get16(frame.body);
  const int qos = frame.head >> 1 & 3;
  return {qos, frame.body.substr(2, topic), frame.body.substr(2 + topic + (qos > 0 ? 2 : 0)),
          qos > 0 ? get16(frame.body.substr(2 + topic)) : std::uint16_t{0}};
}

}  // namespace decklog::bench
