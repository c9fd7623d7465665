// Private to this folder: one HTTP/1.1 connection over a plain or TLS stream. See server.hpp for the
// contract.
#pragma once

#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <type_traits>

#include "services/http/connection_base.hpp"
#include "services/http/stream_queue.hpp"

namespace decklog::http {

namespace asio = boost::asio;
namespace beast = boost::beast;

inline constexpr std::size_t kLingerBytes =
    256 * 1024;  // read and thrown away so that our last answer is not reset
inline constexpr auto kLingerTime = std::chrono::seconds(2);

template <class Stream>
class Connection final : public ConnectionBase, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  static constexpr bool kTls = !std::is_same_v<Stream, Socket>;

  template <class... Args>
  Connection(std::weak_ptr<ConnectionOwner> owner, Peer peer, TlsContext context, Socket socket,
             Args&... args)
      : owner_(std::move(owner)),
        context_(std::move(context)),
        stream_(std::move(socket), args...),
        timer_(stream_.get_executor()),
        peer_(std::move(peer)) {
    if (auto owner_now = owner_.lock()) limits_ = owner_now->limits();
  }

  void start() override {
    arm(limits_.header_deadline);
    if constexpr (kTls) {
      stream_.async_handshake(
          asio::ssl::stream_base::server, [self = this->shared_from_this()](beast::error_code failure) {
            if (failure) return self->cut();
            self->peer_.certificate_pem = client_certificate(self->stream_.native_handle());
            self->read_header(self->limits_.header_deadline);
          });
    } else {
      read_header(limits_.header_deadline);
    }
  }

  bool idle() const override { return phase_ == Phase::kHeader && buffer_.size() == 0; }
  MonoTime idle_since() const override { return idle_since_; }

  void finish() override {
    last_request_ = true;
    if (idle()) cut();
  }

  void cut() override {
    if (phase_ == Phase::kEnded) return;
    phase_ = Phase::kEnded;
    release_slot();
    timer_.cancel();
    beast::error_code ignored;
    socket().close(ignored);
    if (auto queue = std::exchange(queue_, nullptr)) queue->peer_gone();
    if (auto owner = owner_.lock()) owner->ended(this);
  }

  void respond(Response response) override {
    if (phase_ != Phase::kHandler) return;
    write_response(std::move(response));
  }

  std::shared_ptr<ResponseStream> begin_stream(int status, std::string content_type) override;

 private:
  enum class Phase { kHeader, kBody, kHandler, kAnswer, kStream, kLinger, kEnded };
  using Parser = beast::http::request_parser<beast::http::string_body>;

  Socket& socket() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  void arm(Duration limit) {
    timer_.expires_after(limit);
    timer_.async_wait([weak = this->weak_from_this()](beast::error_code failure) {
      auto self = weak.lock();
      // The expiry is looked at again: a wait that was already due cannot be cancelled any more.
      if (failure || !self || self->timer_.expiry() > std::chrono::steady_clock::now()) return;
      self->on_deadline();
    });
  }

  // Not cancel(): an expiry that is queued already would then still look due.
  void disarm() { timer_.expires_at(asio::steady_timer::time_point::max()); }

  void on_deadline() {
    if (auto owner = owner_.lock(); owner && !idle() && phase_ != Phase::kLinger) ++owner->counts().timeouts;
    cut();
  }

  void read_header(Duration limit) {
    phase_ = Phase::kHeader;
    idle_since_ = mono_now();
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
    parser_->body_limit(limits_.body_bytes);
    arm(limit);
    beast::http::async_read_header(stream_, buffer_, *parser_,
                                   [self = this->shared_from_this()](beast::error_code failure, std::size_t) {
                                     if (self->phase_ == Phase::kEnded) return;
                                     if (failure) return self->refuse(failure);
                                     self->read_body();
                                   });
  }

  void read_body() {
    phase_ = Phase::kBody;
    arm(limits_.body_deadline);
    if (beast::iequals(parser_->get()[beast::http::field::expect], "100-continue")) {
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      asio::async_write(stream_, asio::buffer(kContinue),
                        [self = this->shared_from_this()](beast::error_code failure, std::size_t) {
                          if (self->phase_ == Phase::kEnded) return;
                          if (failure) return self->cut();
                          self->read_rest();
                        });
      return;
    }
    read_rest();
  }

  void read_rest() {
    beast::http::async_read(stream_, buffer_, *parser_,
                            [self = this->shared_from_this()](beast::error_code failure, std::size_t) {
                              if (self->phase_ == Phase::kEnded) return;
                              if (failure) return self->refuse(failure);
                              self->handle();
                            });
  }

  // What the parser did not like is answered when there is anybody to answer to; then the connection ends.
  void refuse(beast::error_code failure) {
    using beast::http::error;
    const bool http_error = failure.category() == beast::http::make_error_code(error::bad_version).category();
    if (!http_error || failure == error::end_of_stream || failure == error::partial_message) return cut();
    if (failure == error::body_limit) return refuse(413, "the body is larger than this server takes");
    if (failure == error::header_limit || failure == error::buffer_overflow) {
      return refuse(431, "the header is larger than this server takes");
    }
    refuse(400, "malformed request: " + failure.message());
  }

  void refuse(int status, std::string_view message) {
    if (auto owner = owner_.lock()) ++owner->counts().refused;
    last_request_ = true;
    write_response(json_error(status, message));
  }

  void handle() {
    auto& message = parser_->get();
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    head_ = message.method() == beast::http::verb::head;
    Request request;
    if (auto parsed = parse_target(std::string_view(message.target()), request); !parsed) {
      return refuse(400, parsed.error().message);
    }
    request.method = std::string(message.method_string());
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      auto& value = request.headers[name];
      if (!value.empty()) value += ", ";
      value += std::string_view(field.value());
    }
    request.body = std::move(message.body());
    request.peer = peer_;
    parser_.reset();
    phase_ = Phase::kHandler;
    disarm();
    auto owner = owner_.lock();
    if (!owner) return cut();
    ++owner->counts().requests;
    owner->admit([self = this->shared_from_this(), request = std::move(request)]() mutable {
      auto owner_now = self->owner_.lock();
      if (!owner_now) return;
      if (self->phase_ != Phase::kHandler) return owner_now->release();
      self->has_slot_ = true;
      owner_now->dispatch(std::move(request), Responder(std::make_shared<Exchange>(self)));
    });
  }

  template <class Message>
  void set_fields(Message& message, int status, const std::string& content_type) {
    message.version(version_);
    message.result(static_cast<unsigned>(status));
    message.set(beast::http::field::server, "decklog");
    if (!content_type.empty()) message.set(beast::http::field::content_type, content_type);
    if (last_request_) keep_alive_ = false;
    message.keep_alive(keep_alive_);
  }

  void write_response(Response response) {
    phase_ = Phase::kAnswer;
    auto message = std::make_shared<beast::http::response<beast::http::string_body>>();
    for (const auto& [name, value] : response.headers) message->insert(name, value);
    set_fields(*message, response.status, response.content_type);
    const std::size_t size = response.body.size();
    if (!head_) message->body() = std::move(response.body);
    // 204 and 304 have no body and say no length.
    if (response.status != 204 && response.status != 304) message->content_length(size);
    arm(limits_.write_deadline);
    auto done = [self = this->shared_from_this(), message](beast::error_code failure, std::size_t) {
      if (self->phase_ == Phase::kEnded) return;
      if (failure) return self->cut();
      self->answered();
    };
    if (!head_) return beast::http::async_write(stream_, *message, std::move(done));
    auto serializer = std::make_shared<beast::http::response_serializer<beast::http::string_body>>(*message);
    beast::http::async_write_header(
        stream_, *serializer,
        [serializer, done = std::move(done)](beast::error_code failure, std::size_t n) mutable {
          if (failure == beast::http::error::need_buffer) failure = {};
          done(failure, n);
        });
  }

  void answered() {
    release_slot();
    if (phase_ == Phase::kEnded) return;
    head_ = false;
    if (keep_alive_ && !last_request_) return read_header(limits_.idle_deadline);
    linger();
  }

  // Says that nothing more comes, then reads until the peer closes too: closing with unread data would reset
  // the connection and could take our answer away from the peer.
  void linger() {
    phase_ = Phase::kLinger;
    arm(kLingerTime);
    if constexpr (kTls) {
      stream_.async_shutdown([self = this->shared_from_this()](beast::error_code) { self->cut(); });
    } else {
      beast::error_code ignored;
      socket().shutdown(Socket::shutdown_send, ignored);
      drain(0);
    }
  }

  void drain(std::size_t seen) {
    if (phase_ == Phase::kEnded) return;
    buffer_.clear();
    socket().async_read_some(buffer_.prepare(8192), [self = this->shared_from_this(), seen](
                                                        beast::error_code failure, std::size_t count) {
      if (failure || seen + count > kLingerBytes) return self->cut();
      self->drain(seen + count);
    });
  }

  void release_slot() {
    if (!std::exchange(has_slot_, false)) return;
    if (auto owner = owner_.lock()) owner->release();
  }

  void watch_for_close();
  void pump();
  void write_chunk(std::string bytes, bool last);

  std::weak_ptr<ConnectionOwner> owner_;
  TlsContext context_;
  Stream stream_;
  asio::steady_timer timer_;
  Peer peer_;
  ServerLimits limits_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::shared_ptr<StreamQueue> queue_;
  Phase phase_ = Phase::kHeader;
  MonoTime idle_since_;
  unsigned version_ = 11;
  bool keep_alive_ = true;
  bool last_request_ = false;
  bool head_ = false;
  bool has_slot_ = false;
  bool writing_ = false;
};

}  // namespace decklog::http

#include "services/http/connection_stream.hpp"
