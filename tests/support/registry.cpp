#include "tests/support/registry.hpp"

#include <stdlib.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace decklog::fixture {
namespace {

constexpr auto kStartDeadline = std::chrono::seconds(20);

std::uint16_t free_port() {
  boost::asio::io_context io;
  const boost::asio::ip::tcp::acceptor acceptor(
      io, {boost::asio::ip::make_address("127.0.0.1"), boost::asio::ip::port_type{0}});
  return acceptor.local_endpoint().port();
}

bool accepts(std::uint16_t port) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::socket socket(io);
  boost::system::error_code failed;
  socket.connect({boost::asio::ip::make_address("127.0.0.1"), port}, failed);
  return !failed;
}

}  // namespace

Registry::Registry(std::string username, std::string password) : port_(free_port()) {
  char name[] = "/tmp/decklog-registry-XXXXXX";
  if (!::mkdtemp(name)) throw std::runtime_error("no temporary directory");
  root_ = name;
  ChildProcess htpasswd;
  if (!htpasswd.start({"htpasswd", "-Bbn", username, password}, root_ + "/htpasswd")) {
    throw std::runtime_error("no htpasswd: install apache2-utils");
  }
  while (htpasswd.running()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::ofstream config(root_ + "/config.yml");
  config << "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: " << root_
         << "/store\nhttp:\n  addr: " << address()
         << "\nauth:\n  htpasswd:\n    realm: test\n    path: " << root_ << "/htpasswd\n";
  config.close();
  start();
}

Registry::~Registry() {
  stop();
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

void Registry::start() {
  if (!server_.start({"docker-registry", "serve", root_ + "/config.yml"}, root_ + "/registry.log")) {
    throw std::runtime_error("no docker-registry: install docker-registry");
  }
  const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
  while (!accepts(port_)) {
    if (!server_.running() || std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("docker-registry does not start");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void Registry::stop() {
  server_.signal(SIGCONT);
  server_.end(SIGTERM, std::chrono::seconds(2));
}

void Registry::pause() {
  server_.signal(SIGSTOP);
}
void Registry::resume() {
  server_.signal(SIGCONT);
}

}  // namespace decklog::fixture
