#include "services/runtime/engine_client.hpp"

#include <sys/un.h>

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>

namespace decklog::runtime {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
namespace {

constexpr std::size_t kReadBufferBytes = 64 << 10;
constexpr std::size_t kErrorBodyLimitBytes = 64 << 10;

auto steady(Duration duration) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration);
}

}  // namespace

Error engine_unavailable(const std::string& why) {
  return error(Errc::kUnavailable, why, "engine");
}

class EngineClient::Exchange final : public std::enable_shared_from_this<Exchange> {
 public:
  using Live = std::set<std::shared_ptr<Exchange>>;

  Exchange(asio::any_io_executor executor, EngineRequest request, Data data, Done done)
      : socket_(executor),
        deadline_(executor),
        idle_(executor),
        asked_(std::move(request)),
        data_(std::move(data)),
        done_(std::move(done)) {}

  void start(const std::string& path, std::weak_ptr<Live> live);
  void cancel();

 private:
  void arm(asio::steady_timer& timer, Duration after);
  void write();
  void read_head();
  void read_body();
  void on_body(const error_code& failed);
  bool deliver(std::string_view bytes);
  void fail(const error_code& failed, const char* doing);
  void finish(Result<EngineReply> result);

  asio::local::stream_protocol::socket socket_;
  asio::steady_timer deadline_;
  asio::steady_timer idle_;
  EngineRequest asked_;
  Data data_;
  Done done_;
  std::weak_ptr<Live> live_;
  http::request<http::string_body> request_;
  boost::beast::flat_buffer buffer_{kReadBufferBytes + kEngineHeadLimitBytes};
  std::optional<http::response_parser<http::buffer_body>> parser_;
  std::string chunk_;
  EngineReply reply_;
};

void EngineClient::Exchange::start(const std::string& path, std::weak_ptr<Live> live) {
  live_ = std::move(live);
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      self->finish(error(Errc::kInvalidArgument, "the path of the engine's socket is too long", "engine"));
    });
    return;
  }
  request_.method_string(asked_.method);
  request_.target(asked_.target);
  request_.version(11);
  request_.set(http::field::host, "docker");
  request_.set(http::field::user_agent, "decklog");
  request_.set(http::field::connection, "close");
  if (!asked_.registry_auth.empty()) request_.set("X-Registry-Auth", asked_.registry_auth);
  if (!asked_.body.empty()) request_.set(http::field::content_type, "application/json");
  request_.body() = std::move(asked_.body);
  request_.prepare_payload();
  if (asked_.deadline.count() > 0) arm(deadline_, asked_.deadline);
  if (asked_.idle.count() > 0) arm(idle_, asked_.idle);
  socket_.async_connect(asio::local::stream_protocol::endpoint(path),
                        [self = shared_from_this()](const error_code& failed) {
                          if (failed) return self->fail(failed, "cannot reach the container engine");
                          self->write();
                        });
}

void EngineClient::Exchange::arm(asio::steady_timer& timer, Duration after) {
  timer.expires_after(steady(after));
  timer.async_wait([weak = weak_from_this()](const error_code& cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self) return;
    self->finish(error(Errc::kTimeout, "the container engine does not answer", "engine"));
  });
}

void EngineClient::Exchange::write() {
  if (!done_) return;
  http::async_write(socket_, request_, [self = shared_from_this()](const error_code& failed, std::size_t) {
    // An engine that refuses early may close before it has read all: its answer is still worth reading.
    if (failed && failed != asio::error::broken_pipe)
      return self->fail(failed, "the container engine hung up");
    self->read_head();
  });
}

void EngineClient::Exchange::read_head() {
  if (!done_) return;
  parser_.emplace();
  parser_->header_limit(kEngineHeadLimitBytes);
  parser_->body_limit(boost::none);
  http::async_read_header(socket_, buffer_, *parser_,
                          [self = shared_from_this()](const error_code& failed, std::size_t) {
                            if (failed)
                              return self->fail(failed, "the container engine's answer makes no sense");
                            self->reply_.status = self->parser_->get().result_int();
                            self->chunk_.resize(kReadBufferBytes);
                            self->read_body();
                          });
}

void EngineClient::Exchange::read_body() {
  if (!done_) return;
  if (parser_->is_done()) return finish(std::move(reply_));
  if (asked_.idle.count() > 0) arm(idle_, asked_.idle);
  parser_->get().body().data = chunk_.data();
  parser_->get().body().size = chunk_.size();
  parser_->get().body().more = true;
  http::async_read_some(
      socket_, buffer_, *parser_,
      [self = shared_from_this()](const error_code& failed, std::size_t) { self->on_body(failed); });
}

void EngineClient::Exchange::on_body(const error_code& failed) {
  if (!done_) return;
  const auto self = shared_from_this();
  const std::size_t got = chunk_.size() - parser_->get().body().size;
  if (got > 0 && !deliver({chunk_.data(), got})) return;
  if (!done_) return;
  if (failed && failed != http::error::need_buffer)
    return fail(failed, "the container engine's answer is cut short");
  read_body();
}

bool EngineClient::Exchange::deliver(std::string_view bytes) {
  if (data_ && reply_.ok()) {
    // A copy: the callee may cancel, which drops the function it runs in.
    const Data data = data_;
    if (data(bytes)) return true;
    finish(error(Errc::kCancelled, "stopped by the reader"));
    return false;
  }
  const std::size_t limit = reply_.ok() ? asked_.body_limit : kErrorBodyLimitBytes;
  if (reply_.body.size() + bytes.size() > limit) {
    finish(engine_unavailable("the container engine's answer is larger than " + std::to_string(limit) +
                              " bytes"));
    return false;
  }
  reply_.body.append(bytes);
  return true;
}

void EngineClient::Exchange::fail(const error_code& failed, const char* doing) {
  finish(engine_unavailable(std::string(doing) + ": " + failed.message()));
}

void EngineClient::Exchange::finish(Result<EngineReply> result) {
  if (!done_) return;
  const auto self = shared_from_this();
  const Done done = std::exchange(done_, nullptr);
  cancel();
  done(std::move(result));
}

void EngineClient::Exchange::cancel() {
  done_ = nullptr;
  data_ = nullptr;
  error_code ignored;
  deadline_.cancel();
  idle_.cancel();
  socket_.close(ignored);
  const auto self = shared_from_this();
  if (const auto live = live_.lock()) live->erase(self);
}

EngineClient::EngineClient(asio::any_io_executor executor, std::string socket_path)
    : executor_(std::move(executor)),
      socket_path_(std::move(socket_path)),
      live_(std::make_shared<std::set<std::shared_ptr<Exchange>>>()) {}

EngineClient::~EngineClient() {
  const auto all = std::exchange(*live_, {});
  for (const auto& exchange : all) exchange->cancel();
}

EngineClient::Cancel EngineClient::call(EngineRequest request, Done done) {
  return stream(std::move(request), nullptr, std::move(done));
}

EngineClient::Cancel EngineClient::stream(EngineRequest request, Data data, Done done) {
  auto exchange = std::make_shared<Exchange>(executor_, std::move(request), std::move(data), std::move(done));
  live_->insert(exchange);
  exchange->start(socket_path_, live_);
  return [weak = std::weak_ptr<Exchange>(exchange)] {
    if (const auto alive = weak.lock()) alive->cancel();
  };
}

}  // namespace decklog::runtime
