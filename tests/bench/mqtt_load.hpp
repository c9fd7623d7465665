// The load driver's parts: clients that connect in a blocking way and then talk without blocking, one poll
// loop for all of them, the measured process's CPU and memory, and percentiles. Thread: one.
#pragma once

#include <openssl/ssl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <vector>

#include "tests/bench/wire.hpp"

namespace decklog::bench {

// `key=value` arguments of the command line.
class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 2; i < argc; ++i) {
      const std::string_view argument = argv[i];
      const auto equals = argument.find('=');
      if (equals == argument.npos) die("arguments are key=value");
      values_[std::string(argument.substr(0, equals))] = argument.substr(equals + 1);
    }
  }
  long number(const std::string& key, long fallback) const {
    const auto found = values_.find(key);
    return found == values_.end() ? fallback : std::atol(found->second.c_str());
  }
  std::string text(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? std::string() : found->second;
  }

 private:
  std::map<std::string, std::string> values_;
};

// What /proc says about the process under test; zeros without one (pid=0).
class Process {
 public:
  explicit Process(long pid) : pid_(pid) {}
  double cpu_seconds() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string text;
    std::getline(file, text);
    const auto after_name = text.rfind(')');
    if (after_name == text.npos) return 0;
    unsigned long user = 0, system = 0;
    std::sscanf(text.c_str() + after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                &system);
    return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  long rss_kb() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("VmRSS:")) return std::atol(line.c_str() + 6);
    }
    return 0;
  }

 private:
  long pid_;
};

inline double percentile(std::vector<std::int64_t>& values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return static_cast<double>(
             values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))]) /
         1000;
}

// One line of JSON, numbers only.
class Report {
 public:
  void add(const char* name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%s\"%s\": %.3f", text_.empty() ? "" : ", ", name, value);
    text_ += text;
  }
  void print() const { std::printf("{%s}\n", text_.c_str()); }

 private:
  std::string text_;
};

struct Client {
  int socket = -1;
  SSL* tls = nullptr;
  std::string in, out;
  bool armed_for_write = false;

  bool connect_tcp(int port) {
    socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(port);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(socket);
      return false;
    }
    set_no_delay(socket);
    return true;
  }
  void send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = tls != nullptr ? SSL_write(tls, bytes.data(), static_cast<int>(bytes.size()))
                                       : ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) die("send");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Waits for the next packet and gives its bytes; only before the loop has the socket.
  std::string await_packet() {
    char buffer[4096];
    while (true) {
      if (const Frame frame = next_frame(in); frame.size > 0) {
        std::string whole = in.substr(0, frame.size);
        in.erase(0, frame.size);
        return whole;
      }
      const auto got =
          tls != nullptr ? SSL_read(tls, buffer, sizeof buffer) : ::recv(socket, buffer, sizeof buffer, 0);
      if (got <= 0) die("receive");
      in.append(buffer, static_cast<std::size_t>(got));
    }
  }
  void say_hello(std::string_view id, bool clean) {
    send_all(connect_packet(id, clean));
    const auto answer = await_packet();
    if (answer[0] != 0x20 || answer[3] != 0) die("CONNECT was refused");
  }
  void subscribe(std::string_view filter, int qos) {
    send_all(subscribe_packet(filter, qos));
    std::string answer = await_packet();
    if (answer.back() > 2) die("SUBSCRIBE was refused");
  }
  void close() {
    if (socket >= 0) ::close(socket);
    socket = -1;
    in.clear();
    out.clear();
    armed_for_write = false;
  }
};

inline std::unique_ptr<Client> dial(int port, std::string_view id, bool clean) {
  auto client = std::make_unique<Client>();
  if (!client->connect_tcp(port)) die("connect");
  client->say_hello(id, clean);
  return client;
}

class Poll {
 public:
  Poll() : descriptor_(::epoll_create1(0)) {}
  ~Poll() { ::close(descriptor_); }
  void add(int socket, std::size_t tag) { control(EPOLL_CTL_ADD, socket, tag, EPOLLIN); }
  void flush(Client& client, std::size_t tag) {
    if (!client.out.empty() && !send_some(client.socket, client.out)) die("the server closed a connection");
    const bool wanted = !client.out.empty();
    if (wanted == client.armed_for_write) return;
    client.armed_for_write = wanted;
    control(EPOLL_CTL_MOD, client.socket, tag, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  template <class Ready>
  void wait(int milliseconds, Ready ready) {
    epoll_event events[128];
    const int count = ::epoll_wait(descriptor_, events, 128, milliseconds);
    for (int i = 0; i < count; ++i)
      ready(events[i].data.u64, (events[i].events & ~std::uint32_t{EPOLLOUT}) != 0);
  }

 private:
  void control(int what, int socket, std::size_t tag, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    ::epoll_ctl(descriptor_, what, socket, &event);
  }
  int descriptor_;
};

int run_flow(const Options& options);   // mqtt_load_flow.cpp
int run_idle(const Options& options);   // mqtt_load_idle.cpp
int run_store(const Options& options);  // mqtt_load_store.cpp

}  // namespace decklog::bench
