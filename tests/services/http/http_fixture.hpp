// A Server on its own thread's io_context, and raw sockets to talk to it without manners.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "services/http/client.hpp"
#include "services/http/server.hpp"

namespace decklog::http {

inline constexpr int kDeadlineMs = 10'000;

class TemporaryDirectory final {
 public:
  TemporaryDirectory() {
    char text[] = "/tmp/decklog-test-XXXXXX";
    EXPECT_NE(::mkdtemp(text), nullptr);
    path_ = text;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs an io_context on a thread of its own; call() runs something there and gives its result.
class Loop final {
 public:
  Loop() : work_(io_.get_executor()), thread_([this] { io_.run(); }) {}
  ~Loop() { stop(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  boost::asio::any_io_executor executor() { return io_.get_executor(); }
  template <class Function>
  auto call(Function function) {
    std::packaged_task<decltype(function())()> task(std::move(function));
    auto result = task.get_future();
    boost::asio::post(io_, [&task] { task(); });
    return result.get();
  }
  void stop() {
    if (!thread_.joinable()) return;
    io_.stop();
    thread_.join();
  }

 private:
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::thread thread_;
};

class RawClient final {
 public:
  explicit RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawClient() { ::close(fd_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  bool send(std::string_view text) const {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  // Reads until `end` was seen, the peer closed, or the deadline is over.
  std::string read_until(std::string_view end) {
    std::string got;
    char bytes[4096];
    while (got.find(end) == std::string::npos) {
      pollfd wait{fd_, POLLIN, 0};
      if (::poll(&wait, 1, kDeadlineMs) <= 0) return got + "<deadline>";
      const ssize_t count = ::recv(fd_, bytes, sizeof(bytes), 0);
      if (count <= 0) return got + "<closed>";
      got.append(bytes, static_cast<std::size_t>(count));
    }
    return got;
  }

 private:
  int fd_;
  bool connected_ = false;
};

}  // namespace decklog::http
