// A real nats-server with JetStream in a directory of its own, on a free loopback port. Ended with the
// object.
//
// start() waits until it accepts; kill() is SIGKILL; start() again keeps port and store. stop_responding() is
// SIGSTOP: connections stay open and nothing answers, as when packets are dropped.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace decklog::test {

// Runs argv to its end; false when it did not exit with 0.
bool run_program(const std::vector<std::string>& argv);

// ca.pem, server.pem/-key.pem (for localhost and 127.0.0.1), client.pem/-key.pem, other-ca.pem (signed
// nothing).
void make_tls_files(const std::string& directory);

class NatsServer {
 public:
  // extra: more lines of nats-server configuration, e.g. an authorization block.
  explicit NatsServer(std::string extra = {});
  ~NatsServer();
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  void start();
  void kill();
  void stop_responding();
  void respond_again();
  void set_extra(std::string extra) { extra_ = std::move(extra); }

  std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
  std::uint16_t port() const { return port_; }
  std::string directory() const { return directory_.path().string(); }

 private:
  TempDir directory_;
  std::string extra_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace decklog::test
