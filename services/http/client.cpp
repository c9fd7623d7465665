#include "services/http/client.hpp"

#include <sys/un.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace decklog::http {
namespace {
namespace asio = boost::asio;
namespace beast = boost::beast;
using Generic = asio::generic::stream_protocol;

constexpr std::size_t kPieceBytes = 16 * 1024;

Error connect_error(const boost::system::error_code& failure, const std::string& where) {
  if (failure == asio::error::access_denied) return error(Errc::kPermissionDenied, failure.message(), where);
  return error(Errc::kUnavailable, failure.message(), where);
}

Error read_error(const boost::system::error_code& failure, const std::string& where) {
  using beast::http::error;
  if (failure == error::body_limit || failure == error::header_limit) {
    return decklog::error(Errc::kTooLarge, "the answer is larger than expected", where);
  }
  if (failure == error::end_of_stream || failure == error::partial_message || failure == asio::error::eof ||
      failure == asio::error::connection_reset || failure == asio::error::broken_pipe) {
    return decklog::error(Errc::kClosed, "the other side closed before the answer was complete", where);
  }
  if (failure.category() == beast::http::make_error_code(error::bad_version).category()) {
    return decklog::error(Errc::kMalformed, "the answer is not HTTP: " + failure.message(), where);
  }
  return decklog::error(Errc::kIo, failure.message(), where);
}

std::string text_of(const Endpoint& endpoint) {
  if (!endpoint.unix_path.empty()) return endpoint.unix_path;
  return endpoint.address + ":" + std::to_string(endpoint.port);
}

// By reference: the generic endpoint converts from anything, which a Result of it cannot tell from an Error.
Status resolve(const Endpoint& endpoint, Generic::endpoint& out) {
  if (!endpoint.unix_path.empty()) {
    if (endpoint.unix_path.size() >= sizeof(sockaddr_un::sun_path)) {
      return error(Errc::kInvalidArgument, "the socket path is too long", endpoint.unix_path);
    }
    out = Generic::endpoint(asio::local::stream_protocol::endpoint(endpoint.unix_path));
    return {};
  }
  boost::system::error_code failure;
  const auto address = asio::ip::make_address(endpoint.address, failure);
  if (failure) return error(Errc::kInvalidArgument, "not an IP address", endpoint.address);
  out = Generic::endpoint(asio::ip::tcp::endpoint(address, endpoint.port));
  return {};
}

class Call final : public std::enable_shared_from_this<Call> {
 public:
  Call(asio::any_io_executor executor, const Endpoint& endpoint, ClientRequest request,
       const ClientLimits& limits, std::function<void(Result<Response>)> done,
       std::function<bool(std::string_view)> on_line)
      : socket_(executor),
        timer_(executor),
        endpoint_(endpoint),
        limits_(limits),
        done_(std::move(done)),
        on_line_(std::move(on_line)) {
    message_.version(11);
    message_.method_string(request.method);
    message_.target(request.target);
    message_.set(beast::http::field::host, "localhost");
    message_.set(beast::http::field::user_agent, "decklog");
    message_.set(beast::http::field::connection, "close");
    for (const auto& [name, value] : request.headers) message_.set(name, value);
    if (!request.body.empty()) message_.set(beast::http::field::content_type, request.content_type);
    message_.body() = std::move(request.body);
    message_.prepare_payload();
    skip_body_ = request.method == "HEAD";
  }

  void start() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->connect(); });
  }
  void cancel() {
    done_ = nullptr;
    stop();
  }

 private:
  void connect() {
    if (!done_) return;
    Generic::endpoint target;
    if (auto resolved = resolve(endpoint_, target); !resolved) return finish(resolved.error());
    arm(limits_.answer_deadline);
    socket_.async_connect(target, [self = shared_from_this()](beast::error_code failure) {
      if (!self->done_) return;
      if (failure) return self->finish(connect_error(failure, text_of(self->endpoint_)));
      self->write();
    });
  }

  void write() {
    beast::http::async_write(socket_, message_, [self = shared_from_this()](beast::error_code, std::size_t) {
      // A server that refuses early (413) may have closed its reading side: its answer counts, not our error.
      if (self->done_) self->read_header();
    });
  }

  void read_header() {
    parser_.skip(skip_body_);
    parser_.body_limit(on_line_ ? boost::none : boost::optional<std::uint64_t>(limits_.body_bytes));
    beast::http::async_read_header(socket_, buffer_, parser_,
                                   [self = shared_from_this()](beast::error_code failure, std::size_t) {
                                     if (!self->done_) return;
                                     if (failure)
                                       return self->finish(read_error(failure, text_of(self->endpoint_)));
                                     self->on_header();
                                   });
  }

  void on_header() {
    const auto& message = parser_.get();
    response_.status = static_cast<int>(message.result_int());
    response_.content_type = std::string(message[beast::http::field::content_type]);
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      response_.headers.emplace_back(std::move(name), std::string(field.value()));
    }
    streaming_ = on_line_ && response_.status >= 200 && response_.status < 300;
    read_piece();
  }

  void read_piece() {
    if (parser_.is_done()) return end();
    if (streaming_) arm(limits_.silence_deadline);
    parser_.get().body().data = piece_.data();
    parser_.get().body().size = piece_.size();
    beast::http::async_read_some(socket_, buffer_, parser_,
                                 [self = shared_from_this()](beast::error_code failure, std::size_t) {
                                   if (!self->done_) return;
                                   if (failure == beast::http::error::need_buffer) failure = {};
                                   if (failure)
                                     return self->finish(read_error(failure, text_of(self->endpoint_)));
                                   self->on_piece();
                                 });
  }

  void on_piece() {
    response_.body.append(piece_.data(), piece_.size() - parser_.get().body().size);
    if (streaming_ && !hand_over()) return finish(std::move(response_));
    if (response_.body.size() > limits_.body_bytes) {
      return finish(error(Errc::kTooLarge, "the answer is larger than expected", text_of(endpoint_)));
    }
    read_piece();
  }

  bool hand_over() {
    std::size_t from = 0;
    for (std::size_t end = 0; (end = response_.body.find('\n', from)) != std::string::npos; from = end + 1) {
      if (!on_line_(std::string_view(response_.body).substr(from, end - from))) {
        response_.body.clear();
        return false;
      }
    }
    response_.body.erase(0, from);
    return true;
  }

  void end() {
    if (streaming_ && !response_.body.empty()) {
      on_line_(response_.body);
      response_.body.clear();
    }
    finish(std::move(response_));
  }

  void arm(Duration limit) {
    if (limit == Duration::zero()) {
      timer_.expires_at(asio::steady_timer::time_point::max());
      return;
    }
    timer_.expires_after(limit);
    timer_.async_wait([weak = weak_from_this()](beast::error_code failure) {
      auto self = weak.lock();
      if (failure || !self || self->timer_.expiry() > std::chrono::steady_clock::now()) return;
      self->finish(error(Errc::kTimeout, "no answer in time", text_of(self->endpoint_)));
    });
  }

  void finish(Result<Response> result) {
    auto done = std::exchange(done_, nullptr);
    stop();
    if (done) done(std::move(result));
  }

  void stop() {
    timer_.expires_at(asio::steady_timer::time_point::max());
    beast::error_code ignored;
    socket_.close(ignored);
  }

  Generic::socket socket_;
  asio::steady_timer timer_;
  Endpoint endpoint_;
  ClientLimits limits_;
  std::function<void(Result<Response>)> done_;
  std::function<bool(std::string_view)> on_line_;
  beast::http::request<beast::http::string_body> message_;
  beast::http::response_parser<beast::http::buffer_body> parser_;
  beast::flat_buffer buffer_;
  std::array<char, kPieceBytes> piece_{};
  Response response_;
  bool streaming_ = false;
  bool skip_body_ = false;
};

Result<Response> run(const Endpoint& endpoint, const ClientRequest& request, const ClientLimits& limits,
                     std::function<bool(std::string_view)> on_line) {
  asio::io_context io;
  std::optional<Result<Response>> result;
  auto call = std::make_shared<Call>(
      io.get_executor(), endpoint, request, limits, [&](Result<Response> got) { result = std::move(got); },
      std::move(on_line));
  call->start();
  io.run();
  if (!result) return error(Errc::kInternal, "the request ended without an answer", text_of(endpoint));
  return std::move(*result);
}

}  // namespace

Result<Response> request(const Endpoint& endpoint, const ClientRequest& request, const ClientLimits& limits) {
  return run(endpoint, request, limits, nullptr);
}

Result<Response> stream_lines(const Endpoint& endpoint, const ClientRequest& request,
                              const std::function<bool(std::string_view)>& on_line,
                              const ClientLimits& limits) {
  return run(endpoint, request, limits, on_line);
}

std::shared_ptr<void> async_request(asio::any_io_executor executor, const Endpoint& endpoint,
                                    ClientRequest request, const ClientLimits& limits,
                                    std::function<void(Result<Response>)> done) {
  auto call = std::make_shared<Call>(std::move(executor), endpoint, std::move(request), limits,
                                     std::move(done), nullptr);
  call->start();
  return std::shared_ptr<void>(call.get(), [call](void*) { call->cancel(); });
}

}  // namespace decklog::http
