// A real image registry (Debian's docker-registry) on a free loopback port, with basic authentication.
// Blocking; throws std::runtime_error when the machine cannot do it.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/child_process.hpp"

namespace decklog::fixture {

class Registry final {
 public:
  Registry(std::string username, std::string password);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void start();  // on the port it had before
  void stop();   // connections are refused
  void pause();  // connections hang
  void resume();

 private:
  std::string root_;
  std::uint16_t port_ = 0;
  ChildProcess server_;
};

}  // namespace decklog::fixture
