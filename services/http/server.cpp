#include "services/http/server.hpp"

#include <time.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <list>

#include "services/http/connection_base.hpp"
#include "services/http/listener.hpp"

namespace decklog::http {
namespace {
namespace asio = boost::asio;
using Protocol = asio::generic::stream_protocol;
using Acceptor = asio::basic_socket_acceptor<Protocol>;

// Out of descriptors or memory: a tight accept loop would burn the core the rest needs to free some.
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

struct Listener {
  ListeningSocket socket;
  Acceptor acceptor;
  asio::steady_timer retry;
  TlsContext tls;        // null = plain
  bool waiting = false;  // for a newcomer
  bool blocked = false;  // a newcomer is there, and no room
};
}  // namespace

MonoTime mono_now() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return {now.tv_sec * 1'000'000'000LL + now.tv_nsec};
}

void Responder::send(Response response) const {
  exchange_->send(std::move(response));
}
std::shared_ptr<ResponseStream> Responder::stream(int status, std::string content_type) const {
  return exchange_->stream(status, std::move(content_type));
}

class Server::Impl final : public ConnectionOwner, public std::enable_shared_from_this<Server::Impl> {
 public:
  Impl(asio::any_io_executor executor, ServerLimits limits, Handler handler)
      : executor_(std::move(executor)), limits_(limits), handler_(std::move(handler)), grace_(executor_) {}

  const ServerLimits& limits() const override { return limits_; }
  ServerCounters& counts() override { return counts_; }
  const ServerCounters& counts() const { return counts_; }

  void admit(std::function<void()> begin) override {
    if (in_hand_ >= limits_.max_requests) return waiting_.push_back(std::move(begin));
    ++in_hand_;
    begin();
  }

  void release() override {
    --in_hand_;
    // Posted: release() is called from inside a connection that is about to go on or to end.
    asio::post(executor_, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->after_release();
    });
  }

  void dispatch(Request request, Responder responder) override {
    if (handler_) handler_(std::move(request), std::move(responder));
  }

  void ended(ConnectionBase* connection) override {
    const auto found = std::find_if(connections_.begin(), connections_.end(),
                                    [&](const auto& one) { return one.get() == connection; });
    if (found == connections_.end()) return;
    connections_.erase(found);
    counts_.connections = connections_.size();
    if (closing_) return check_closed();
    look_again();
  }

  Result<std::uint16_t> add(Result<ListeningSocket> socket, TlsContext tls) {
    if (!socket) return socket.error();
    auto listener = std::make_shared<Listener>(
        Listener{*socket, Acceptor(executor_), asio::steady_timer(executor_), std::move(tls)});
    boost::system::error_code failure;
    listener->acceptor.assign(Protocol(socket->family, 0), socket->fd, failure);
    if (!failure) listener->acceptor.non_blocking(true, failure);
    if (failure) return error(Errc::kIo, "cannot listen: " + failure.message());
    listeners_.push_back(listener);
    accept(listener);
    return socket->port;
  }

  void replace_tls(const TlsContext& context) {
    for (auto& listener : listeners_) {
      if (listener->tls) listener->tls = context;
    }
  }

  // Waits for somebody to be there before looking for room: idle connections are only cut for a real
  // newcomer.
  void accept(const std::shared_ptr<Listener>& listener) {
    if (closing_ || listener->waiting) return;
    listener->waiting = true;
    listener->acceptor.async_wait(Acceptor::wait_read,
                                  [weak = weak_from_this(), listener](boost::system::error_code failure) {
                                    listener->waiting = false;
                                    auto self = weak.lock();
                                    if (self && !self->closing_ && !failure) self->take(listener);
                                  });
  }

  void take(const std::shared_ptr<Listener>& listener) {
    listener->blocked = connections_.size() >= limits_.max_connections && !evict_idle();
    if (listener->blocked) return;  // look_again() comes back here
    Protocol::socket socket(executor_);
    boost::system::error_code failure;
    listener->acceptor.accept(socket, failure);
    const bool nobody = failure == asio::error::would_block || failure == asio::error::connection_aborted;
    if (failure && !nobody) return accept_later(listener);
    if (!failure) adopt(*listener, std::move(socket));
    accept(listener);
  }

  // A connection ended or became idle: there may be room now.
  void look_again() {
    for (auto& listener : std::vector(listeners_)) {
      if (std::exchange(listener->blocked, false)) accept(listener);
    }
  }

  void accept_later(const std::shared_ptr<Listener>& listener) {
    listener->retry.expires_after(kAcceptRetry);
    listener->retry.async_wait([weak = weak_from_this(), listener](boost::system::error_code failure) {
      auto self = weak.lock();
      if (self && !failure) self->accept(listener);
    });
  }

  void close(Duration grace, std::function<void()> done) {
    on_closed_ = std::move(done);
    stop_listening();
    for (auto& connection : std::vector(connections_.begin(), connections_.end())) connection->finish();
    grace_.expires_after(grace);
    grace_.async_wait([weak = weak_from_this()](boost::system::error_code failure) {
      auto self = weak.lock();
      if (self && !failure) self->cut_all();
    });
    check_closed();
  }

  void destroy() {
    handler_ = nullptr;
    on_closed_ = nullptr;
    grace_.cancel();
    stop_listening();
    waiting_.clear();
    cut_all();
  }

 private:
  void after_release() {
    if (!waiting_.empty() && in_hand_ < limits_.max_requests) {
      auto begin = std::move(waiting_.front());
      waiting_.pop_front();
      ++in_hand_;
      begin();
    }
    look_again();
  }

  void adopt(Listener& listener, Protocol::socket socket) {
    ++counts_.accepted;
    Peer peer = peer_of(socket.native_handle(), listener.socket.family);
    auto connection =
        listener.tls ? make_tls_connection(weak_from_this(), std::move(socket), std::move(peer), listener.tls)
                     : make_plain_connection(weak_from_this(), std::move(socket), std::move(peer));
    connections_.push_back(connection);
    counts_.connections = connections_.size();
    connection->start();
  }

  bool evict_idle() {
    std::shared_ptr<ConnectionBase> oldest;
    for (const auto& connection : connections_) {
      if (!connection->idle()) continue;
      if (!oldest || connection->idle_since() < oldest->idle_since()) oldest = connection;
    }
    if (!oldest) return false;
    ++counts_.evicted_idle;
    oldest->cut();
    return true;
  }

  void stop_listening() {
    closing_ = true;
    for (auto& listener : listeners_) {
      boost::system::error_code ignored;
      listener->acceptor.close(ignored);
      listener->retry.cancel();
      remove_socket_file(listener->socket);
    }
    listeners_.clear();
  }

  void cut_all() {
    for (auto& connection : std::vector(connections_.begin(), connections_.end())) connection->cut();
  }

  void check_closed() {
    if (!connections_.empty() || !on_closed_) return;
    grace_.cancel();
    asio::post(executor_, std::exchange(on_closed_, nullptr));
  }

  asio::any_io_executor executor_;
  ServerLimits limits_;
  Handler handler_;
  ServerCounters counts_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::list<std::shared_ptr<ConnectionBase>> connections_;
  std::deque<std::function<void()>> waiting_;
  std::size_t in_hand_ = 0;
  bool closing_ = false;
  asio::steady_timer grace_;
  std::function<void()> on_closed_;
};

Server::Server(asio::any_io_executor executor, ServerLimits limits, Handler handler)
    : impl_(std::make_shared<Impl>(std::move(executor), limits, std::move(handler))) {}

Server::~Server() {
  impl_->destroy();
}

Status Server::listen_unix(const std::string& path, const UnixAccess& access) {
  const auto added = impl_->add(open_unix_listener(path, access), nullptr);
  if (!added) return added.error();
  return {};
}

Result<std::uint16_t> Server::listen_tcp(const std::string& address, std::uint16_t port) {
  return impl_->add(open_tcp_listener(address, port), nullptr);
}

Result<std::uint16_t> Server::listen_tls(const std::string& address, std::uint16_t port,
                                         const TlsSettings& tls) {
  auto context = make_tls_context(tls);
  if (!context) return context.error();
  return impl_->add(open_tcp_listener(address, port), *context);
}

Status Server::replace_tls(const TlsSettings& tls) {
  auto context = make_tls_context(tls);
  if (!context) return context.error();
  impl_->replace_tls(*context);
  return {};
}

void Server::close(Duration grace, std::function<void()> done) {
  impl_->close(grace, std::move(done));
}
ServerCounters Server::counters() const {
  return std::as_const(*impl_).counts();
}

}  // namespace decklog::http
