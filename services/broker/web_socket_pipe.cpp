// MQTT over WebSocket (section 6) with Boost.Beast on top of a plain or TLS socket pipe, and the plain HTTP
// requests that share its port.
#include <boost/asio/compose.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <optional>

#include "services/broker/pipe.hpp"

namespace decklog::broker {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;

constexpr std::size_t kMaxHeaderBytes = 16u << 10;
constexpr std::size_t kReadAtOnceBytes = 16u << 10;
constexpr std::size_t kWriteAtOnceBytes = 64u << 10;

// A SocketPipe as the asynchronous stream that Beast wants.
class AsyncPipe {
 public:
  using executor_type = Socket::executor_type;
  explicit AsyncPipe(std::unique_ptr<SocketPipe> pipe) : pipe_(std::move(pipe)) {}
  executor_type get_executor() { return pipe_->socket().get_executor(); }
  SocketPipe& pipe() { return *pipe_; }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return start<true>(asio::mutable_buffer(first_of<asio::mutable_buffer>(buffers)),
                       std::forward<Token>(token));
  }
  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return start<false>(asio::const_buffer(first_of<asio::const_buffer>(buffers)),
                        std::forward<Token>(token));
  }

 private:
  template <class Buffer, class Buffers>
  static Buffer first_of(const Buffers& buffers) {
    for (auto at = asio::buffer_sequence_begin(buffers); at != asio::buffer_sequence_end(buffers); ++at) {
      if (Buffer buffer(*at); buffer.size() > 0) return buffer;
    }
    return {};
  }

  template <bool kReading, class Buffer>
  struct Operation final {
    SocketPipe* pipe;
    Buffer buffer;
    bool posted = false;

    template <class Self>
    void operator()(Self& self, error_code failed = {}) {
      if (!posted) {  // never completed inside the call that starts it
        posted = true;
        return asio::post(pipe->socket().get_executor(), std::move(self));
      }
      if (failed) return self.complete(failed, 0);
      if (buffer.size() == 0) return self.complete({}, 0);
      IoResult result;
      if constexpr (kReading) {
        result = pipe->read(static_cast<char*>(buffer.data()), buffer.size());
      } else {
        result = pipe->write(static_cast<const char*>(buffer.data()), buffer.size());
      }
      switch (result.kind) {
        case IoResult::Kind::kBytes:
          return self.complete({}, result.bytes);
        case IoResult::Kind::kEnd:
          return self.complete(asio::error::eof, 0);
        case IoResult::Kind::kFailed:
          return self.complete(asio::error::connection_reset, 0);
        case IoResult::Kind::kWait:
          break;
      }
      const auto waits_for = kReading ? pipe->read_waits_for() : pipe->write_waits_for();
      pipe->socket().async_wait(waits_for == WaitFor::kRead ? Socket::wait_read : Socket::wait_write,
                                std::move(self));
    }
  };

  template <bool kReading, class Buffer, class Token>
  auto start(Buffer buffer, Token&& token) {
    return asio::async_compose<Token, void(error_code, std::size_t)>(
        Operation<kReading, Buffer>{pipe_.get(), buffer}, token, pipe_->socket());
  }

  std::unique_ptr<SocketPipe> pipe_;
};

// Found by Beast through the argument's namespace when it gives up on a stream.
void beast_close_socket(AsyncPipe& stream) {
  stream.pipe().close();
}

// The connection above does its own goodbye; Beast only has to stop.
[[maybe_unused]] void teardown(beast::role_type, AsyncPipe&, error_code& failed) {
  failed = {};
}
template <class Handler>
void async_teardown(beast::role_type, AsyncPipe& stream, Handler&& handler) {
  asio::post(stream.get_executor(), beast::bind_front_handler(std::forward<Handler>(handler), error_code{}));
}

bool offers_mqtt(std::string_view protocols) {
  while (!protocols.empty()) {
    const auto comma = protocols.find(',');
    auto token = protocols.substr(0, comma);
    token.remove_prefix(std::min(token.find_first_not_of(" \t"), token.size()));
    token = token.substr(0, token.find_first_of(" \t"));
    if (beast::iequals(token, "mqtt")) return true;
    if (comma == std::string_view::npos) break;
    protocols.remove_prefix(comma + 1);
  }
  return false;
}

bool known_path(std::string_view target) {
  target = target.substr(0, target.find('?'));
  return target == "/mqtt" || target == "/$iothub/websocket" || target == "/%24iothub/websocket";
}

// Everything asynchronous refers to this; the pipe itself may be gone before an operation ends.
class State final : public std::enable_shared_from_this<State> {
 public:
  State(std::unique_ptr<SocketPipe> lower, WebSocketOptions options)
      : stream_(std::move(lower)), options_(std::move(options)) {}

  IoResult read(char* to, std::size_t size) {
    if (goodbye_said_) return lower().read(to, size);  // discards
    if (closing_) {
      input_.clear();
      return {IoResult::Kind::kWait, 0};
    }
    if (input_.size() > 0) {
      const auto bytes = asio::buffer_copy(asio::buffer(to, size), input_.data());
      input_.consume(bytes);
      if (input_.size() == 0) input_.shrink_to_fit();
      return {IoResult::Kind::kBytes, bytes};
    }
    return {over_ ? IoResult::Kind::kEnd : IoResult::Kind::kWait, 0};
  }

  IoResult write(const char* from, std::size_t size) {
    if (over_ || !open_ || closing_) return {IoResult::Kind::kFailed, 0};
    if (writing_) return {IoResult::Kind::kWait, 0};
    output_.assign(from, std::min(size, kWriteAtOnceBytes));
    writing_ = true;
    stream_.async_write(asio::buffer(output_), [self = shared_from_this()](error_code failed, std::size_t) {
      self->writing_ = false;
      self->output_ = {};
      if (failed) self->over_ = true;
      if (self->close_after_write_) self->start_close();
      self->call_writer();
    });
    return {IoResult::Kind::kBytes, output_.size()};
  }

  void wait_for_read(std::shared_ptr<PipeUser> user) {
    if (goodbye_said_) return lower().wait_for_read(std::move(user));
    reader_ = std::move(user);
    if (input_.size() > 0 || over_) {
      asio::post(lower().socket().get_executor(), [self = shared_from_this()] { self->call_reader(); });
    } else if (open_) {
      read_more();
    } else if (!parser_) {
      read_request();
    }
  }

  void wait_for_write(std::shared_ptr<PipeUser> user) {
    writer_ = std::move(user);
    if (!writing_)
      asio::post(lower().socket().get_executor(), [self = shared_from_this()] { self->call_writer(); });
  }

  void shutdown_write() {
    if (closing_ || goodbye_said_) return;
    if (!open_ || over_) return say_goodbye();
    closing_ = true;
    if (writing_) {
      close_after_write_ = true;
    } else {
      start_close();
    }
  }

  void close() {
    over_ = true;
    reader_.reset();
    writer_.reset();
    lower().close();
  }

  PeerCertificate certificate() { return lower().certificate(); }
  bool busy() const { return answering_; }

 private:
  SocketPipe& lower() { return stream_.next_layer().pipe(); }

  void call_reader() {
    if (auto user = std::exchange(reader_, nullptr)) user->on_readable();
  }
  void call_writer() {
    if (auto user = std::exchange(writer_, nullptr)) user->on_writable();
  }
  void end() {
    over_ = true;
    call_reader();
  }

  void read_request() {
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(options_.max_http_body_bytes);
    http::async_read(
        stream_.next_layer(), request_bytes_, *parser_,
        [self = shared_from_this()](error_code failed, std::size_t) { self->on_request(failed); });
  }

  void on_request(error_code failed) {
    if (over_ || goodbye_said_) return;
    if (failed == http::error::body_limit)
      return answer(413, "", "{\"message\":\"request too large\"}", false);
    if (failed == http::error::end_of_stream || failed == asio::error::eof) return end();
    if (failed && failed.category() == http::make_error_code(http::error::bad_method).category()) {
      return answer(400, "", "{\"message\":\"malformed request\"}", false);
    }
    if (failed) return end();
    const auto& request = parser_->get();
    if (websocket::is_upgrade(request)) return upgrade(request);
    HttpRequest asked;
    asked.method = request.method_string();
    asked.target = request.target();
    asked.body = request.body();
    for (const auto& field : request) {
      std::string name(field.name_string());
      for (auto& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      asked.headers.emplace_back(std::move(name), std::string(field.value()));
    }
    asked.listener = options_.listener;
    asked.peer = options_.peer;
    asked.certificate = lower().certificate();
    answering_ = true;
    options_.http(std::move(asked), [weak = weak_from_this(), keep = request.keep_alive()](HttpAnswer given) {
      const auto self = weak.lock();
      if (self && !self->over_) self->answer(given.status, given.content_type, given.body, keep);
    });
  }

  void answer(unsigned status, std::string_view type, std::string_view body, bool keep_alive) {
    response_.emplace();
    response_->version(11);
    response_->result(status);
    response_->keep_alive(keep_alive);
    response_->set(http::field::content_type, type.empty() ? std::string_view("application/json") : type);
    response_->body() = body;
    response_->prepare_payload();
    http::async_write(stream_.next_layer(), *response_,
                      [self = shared_from_this()](error_code failed, std::size_t) {
                        self->answering_ = false;
                        const bool keep = !failed && self->response_->keep_alive();
                        self->response_.reset();
                        if (self->over_ || self->goodbye_said_) return;
                        if (!keep) return self->end();
                        self->read_request();
                      });
  }

  void upgrade(const http::request<http::string_body>& request) {
    if (!known_path(request.target())) return answer(404, "", "{\"message\":\"no such path\"}", false);
    if (!offers_mqtt(request[http::field::sec_websocket_protocol])) {  // [MQTT-6.0.0-3]
      return answer(400, "", "{\"message\":\"sub-protocol mqtt is required\"}", false);
    }
    stream_.read_message_max(options_.max_message_bytes);
    stream_.binary(true);
    stream_.auto_fragment(false);
    stream_.set_option(websocket::stream_base::decorator([](websocket::response_type& response) {
      response.set(http::field::sec_websocket_protocol, "mqtt");  // [MQTT-6.0.0-4]
    }));
    stream_.async_accept(request, [self = shared_from_this()](error_code failed) {
      if (failed || self->over_ || self->goodbye_said_) return self->end();
      self->open_ = true;
      self->parser_.reset();
      // Bytes that came right behind the request belong to the first frame.
      if (self->request_bytes_.size() > 0) return self->end();
      self->request_bytes_ = {};
      self->read_more();
    });
  }

  void read_more() {
    if (reading_ || over_ || closing_) return;
    reading_ = true;
    stream_.async_read_some(input_, kReadAtOnceBytes,
                            [self = shared_from_this()](error_code failed, std::size_t) {
                              self->reading_ = false;
                              if (failed || !self->stream_.got_binary()) {  // [MQTT-6.0.0-1]
                                self->over_ = true;
                                if (failed) self->input_.clear();
                              }
                              if (!self->closing_) self->call_reader();
                            });
  }

  void start_close() {
    close_after_write_ = false;
    stream_.async_close(websocket::close_code::normal,
                        [self = shared_from_this()](error_code) { self->say_goodbye(); });
  }

  void say_goodbye() {
    goodbye_said_ = true;
    closing_ = false;
    lower().shutdown_write();
    if (auto user = std::exchange(reader_, nullptr)) user->on_readable();
  }

  websocket::stream<AsyncPipe> stream_;
  WebSocketOptions options_;
  beast::flat_buffer request_bytes_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  beast::flat_buffer input_;
  std::string output_;
  std::shared_ptr<PipeUser> reader_;
  std::shared_ptr<PipeUser> writer_;
  bool open_ = false;  // upgraded
  bool over_ = false;  // nothing more will come, or the pipe is broken
  bool reading_ = false;
  bool writing_ = false;
  bool closing_ = false;  // the closing handshake is under way
  bool close_after_write_ = false;
  bool goodbye_said_ = false;
  bool answering_ = false;
};

class WebSocketPipe final : public Pipe {
 public:
  explicit WebSocketPipe(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~WebSocketPipe() override { state_->close(); }
  IoResult read(char* to, std::size_t size) override { return state_->read(to, size); }
  IoResult write(const char* from, std::size_t size) override { return state_->write(from, size); }
  void wait_for_read(std::shared_ptr<PipeUser> user) override { state_->wait_for_read(std::move(user)); }
  void wait_for_write(std::shared_ptr<PipeUser> user) override { state_->wait_for_write(std::move(user)); }
  void shutdown_write() override { state_->shutdown_write(); }
  void close() override { state_->close(); }
  PeerCertificate certificate() const override { return state_->certificate(); }
  bool busy() const override { return state_->busy(); }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace

std::unique_ptr<Pipe> make_web_socket_pipe(std::unique_ptr<SocketPipe> lower, WebSocketOptions options) {
  return std::make_unique<WebSocketPipe>(std::make_shared<State>(std::move(lower), std::move(options)));
}

}  // namespace decklog::broker
