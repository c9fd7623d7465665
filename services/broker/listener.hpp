// Accepts connections on one address until it is closed. Running out of descriptors closes the newest peer
// instead of spinning. Owner: the engine. Thread: the engine's.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "services/broker/broker.hpp"
#include "services/broker/connection.hpp"

namespace decklog::broker {

class Listener final {
 public:
  Listener(Engine& engine, const ListenerOptions& options);
  ~Listener();
  Status open();
  void close();
  std::uint16_t port() const { return port_; }
  const std::string& name() const { return info_.name; }

 private:
  void wait();
  void accept_all();
  void shed_one();
  void pause();

  Engine& engine_;
  ListenerOptions options_;
  ListenerInfo info_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  int spare_descriptor_ = -1;  // given up to accept and close a peer when there are no descriptors left
  std::uint16_t port_ = 0;
};

}  // namespace decklog::broker
