#include "services/broker/listener.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "services/broker/engine.hpp"

namespace decklog::broker {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr int kAcceptsPerWakeUp = 64;
constexpr int kBacklog = 4096;
constexpr auto kPauseWithoutDescriptors = std::chrono::milliseconds(100);

int open_spare() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

}  // namespace

Listener::Listener(Engine& engine, const ListenerOptions& options)
    : engine_(engine),
      options_(options),
      info_{options.name, options.transport},
      acceptor_(engine.context()),
      pause_(engine.context()),
      spare_descriptor_(open_spare()) {}

Listener::~Listener() {
  if (spare_descriptor_ >= 0) ::close(spare_descriptor_);
}

Status Listener::open() {
  const auto where = options_.address + ":" + std::to_string(options_.port);
  error_code failed;
  const auto address = boost::asio::ip::make_address(options_.address, failed);
  if (failed) return error(Errc::kInvalidArgument, "not an IP address", where);
  const bool secure =
      options_.transport == Transport::kTls || options_.transport == Transport::kSecureWebSocket;
  if (secure && !options_.tls) return error(Errc::kInvalidArgument, "listener needs a certificate", where);
  const tcp::endpoint endpoint(address, options_.port);
  acceptor_.open(endpoint.protocol(), failed);
  if (!failed) acceptor_.set_option(tcp::acceptor::reuse_address(true), failed);
  if (!failed) acceptor_.bind(endpoint, failed);
  if (!failed) acceptor_.listen(kBacklog, failed);
  if (!failed) acceptor_.non_blocking(true, failed);
  if (!failed) port_ = acceptor_.local_endpoint(failed).port();
  if (failed) return error(Errc::kIo, "cannot listen: " + failed.message(), where);
  wait();
  return {};
}

void Listener::close() {
  error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

void Listener::wait() {
  acceptor_.async_wait(tcp::acceptor::wait_read, [this](const error_code& failed) {
    if (!failed) accept_all();
  });
}

void Listener::accept_all() {
  for (int i = 0; i < kAcceptsPerWakeUp; ++i) {
    error_code failed;
    Socket socket(engine_.context());
    acceptor_.accept(socket, failed);
    if (!failed) {
      engine_.accepted(std::move(socket), info_, options_.tls.get());
      continue;
    }
    if (failed == boost::asio::error::would_block || failed == boost::asio::error::try_again) break;
    if (failed == boost::system::errc::too_many_files_open ||
        failed == boost::system::errc::too_many_files_open_in_system) {
      shed_one();
      return pause();
    }
    // A peer that gave up while it waited (ECONNABORTED) and the like: the next one.
  }
  wait();
}

void Listener::shed_one() {
  engine_.refuse_connection("no file descriptors left");
  if (spare_descriptor_ >= 0) ::close(spare_descriptor_);
  error_code ignored;
  {
    Socket socket(engine_.context());
    acceptor_.accept(socket, ignored);
  }
  spare_descriptor_ = open_spare();
}

void Listener::pause() {
  pause_.expires_after(kPauseWithoutDescriptors);
  pause_.async_wait([this](const error_code& failed) {
    if (!failed) wait();
  });
}

}  // namespace decklog::broker
