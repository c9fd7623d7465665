#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>

#include "services/broker/pipe.hpp"

namespace decklog::broker {
namespace {

class PlainPipe final : public SocketPipe {
 public:
  using SocketPipe::SocketPipe;

  IoResult read(char* to, std::size_t size) override { return receive(to, size); }

  IoResult write(const char* from, std::size_t size) override {
    while (true) {
      const auto sent = ::send(socket_.native_handle(), from, size, MSG_NOSIGNAL);
      if (sent >= 0) return {IoResult::Kind::kBytes, static_cast<std::size_t>(sent)};
      if (errno == EINTR) continue;
      return {errno == EAGAIN || errno == EWOULDBLOCK ? IoResult::Kind::kWait : IoResult::Kind::kFailed, 0};
    }
  }
};

}  // namespace

IoResult SocketPipe::receive(char* to, std::size_t size) {
  while (true) {
    const auto got = ::recv(socket_.native_handle(), to, size, 0);
    if (got > 0) return {IoResult::Kind::kBytes, static_cast<std::size_t>(got)};
    if (got == 0) return {IoResult::Kind::kEnd, 0};
    if (errno == EINTR) continue;
    return {errno == EAGAIN || errno == EWOULDBLOCK ? IoResult::Kind::kWait : IoResult::Kind::kFailed, 0};
  }
}

void SocketPipe::wait_for_read(std::shared_ptr<PipeUser> user) {
  if (!ended_ && has_buffered()) {
    boost::asio::post(socket_.get_executor(), [user = std::move(user)] { user->on_readable(); });
    return;
  }
  const auto direction =
      !ended_ && read_waits_for() == WaitFor::kWrite ? Socket::wait_write : Socket::wait_read;
  socket_.async_wait(direction, [user = std::move(user)](const boost::system::error_code& failed) {
    if (failed != boost::asio::error::operation_aborted) user->on_readable();
  });
}

void SocketPipe::wait_for_write(std::shared_ptr<PipeUser> user) {
  const auto direction = write_waits_for() == WaitFor::kRead ? Socket::wait_read : Socket::wait_write;
  socket_.async_wait(direction, [user = std::move(user)](const boost::system::error_code& failed) {
    if (failed != boost::asio::error::operation_aborted) user->on_writable();
  });
}

void SocketPipe::shutdown_write() {
  ended_ = true;
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

void SocketPipe::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

std::unique_ptr<SocketPipe> make_plain_pipe(Socket socket) {
  return std::make_unique<PlainPipe>(std::move(socket));
}

}  // namespace decklog::broker
