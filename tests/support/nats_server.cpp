#include "tests/support/nats_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace decklog::test {
namespace {

constexpr auto kStartDeadline = std::chrono::seconds(20);
constexpr auto kPoll = std::chrono::milliseconds(10);

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

// A server that is ready greets with INFO.
bool greets(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(port);
  char text[5] = {};
  bool ready = fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  if (ready) {
    pollfd wait{fd, POLLIN, 0};
    ready = ::poll(&wait, 1, 1000) == 1 && ::recv(fd, text, 4, 0) == 4 && std::string(text) == "INFO";
  }
  if (fd >= 0) ::close(fd);
  return ready;
}

pid_t spawn(const std::vector<std::string>& argv, const std::string& output) {
  std::vector<char*> pointers;
  for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = -1;
  const int failure = ::posix_spawnp(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) throw std::runtime_error("cannot start " + argv[0]);
  return pid;
}

}  // namespace

bool run_program(const std::vector<std::string>& argv) {
  const pid_t pid = spawn(argv, "/dev/null");
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void make_tls_files(const std::string& directory) {
  const auto file = [&](const std::string& name) { return directory + '/' + name; };
  const auto need = [](const std::vector<std::string>& argv) {
    if (!run_program(argv)) throw std::runtime_error("openssl failed: " + argv[1]);
  };
  std::ofstream(file("san.cnf")) << "subjectAltName=DNS:localhost,IP:127.0.0.1\n";
  for (const char* ca : {"ca", "other-ca"}) {
    need({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
          "-days", "2", "-subj", std::string("/CN=") + ca, "-keyout", file(std::string(ca) + "-key.pem"),
          "-out", file(std::string(ca) + ".pem")});
  }
  for (const char* name : {"server", "client"}) {
    const std::string base = file(name);
    need({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
          std::string("/CN=") + name, "-keyout", base + "-key.pem", "-out", base + ".csr"});
    need({"openssl", "x509", "-req", "-in", base + ".csr", "-CA", file("ca.pem"), "-CAkey",
          file("ca-key.pem"), "-CAcreateserial", "-days", "2", "-extfile", file("san.cnf"), "-out",
          base + ".pem"});
  }
}

NatsServer::NatsServer(std::string extra) : extra_(std::move(extra)), port_(free_port()) {}

NatsServer::~NatsServer() {
  kill();
}

void NatsServer::start() {
  const std::string config = directory() + "/server.conf";
  std::ofstream(config) << "listen: \"127.0.0.1:" << port_ << "\"\n"
                        << "jetstream { store_dir: \"" << directory()
                        << "/store\", max_mem: 64MB, max_file: 8GB }\n"
                        << extra_ << "\n";
  const std::string log = directory() + "/server.log";
  pid_ = spawn({"nats-server", "-c", config}, log);
  const auto until = std::chrono::steady_clock::now() + kStartDeadline;
  while (!greets(port_)) {
    int status = 0;
    const bool gone = ::waitpid(pid_, &status, WNOHANG) == pid_;
    if (gone || std::chrono::steady_clock::now() > until) {
      std::ostringstream text;
      text << std::ifstream(log).rdbuf();
      if (gone) pid_ = -1;
      throw std::runtime_error("nats-server did not start:\n" + text.str());
    }
    std::this_thread::sleep_for(kPoll);
  }
}

void NatsServer::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void NatsServer::stop_responding() {
  ::kill(pid_, SIGSTOP);
}
void NatsServer::respond_again() {
  ::kill(pid_, SIGCONT);
}

}  // namespace decklog::test
