#include "services/agent/probe_dial.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace decklog::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::uint64_t kMaxAnswerBytes = 1024 * 1024;

class Dial : public std::enable_shared_from_this<Dial> {
 public:
  Dial(asio::any_io_executor executor, Probe probe, std::function<void(Status)> done)
      : stream_(std::move(executor)), probe_(std::move(probe)), done_(std::move(done)) {}

  void start(const std::string& address) {
    boost::system::error_code failed;
    const auto ip = asio::ip::make_address(address, failed);
    if (failed) {
      asio::post(stream_.get_executor(), [self = shared_from_this()] {
        self->finish(error(Errc::kUnavailable, "no address to probe"));
      });
      return;
    }
    stream_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(probe_.timeout));
    stream_.async_connect(asio::ip::tcp::endpoint(ip, probe_.port),
                          [self = shared_from_this(), address](boost::system::error_code code) {
                            if (code) return self->fail("connect", code);
                            if (self->probe_.kind == Probe::Kind::kTcp) return self->finish({});
                            self->ask(address);
                          });
  }

  // The owner lost interest: nothing is called any more.
  void cancel() {
    done_ = nullptr;
    stream_.close();
  }

 private:
  void ask(const std::string& address) {
    request_.method(http::verb::get);
    request_.version(11);
    request_.target(probe_.path);
    request_.set(http::field::host, address + ":" + std::to_string(probe_.port));
    request_.set(http::field::user_agent, "decklog-probe");
    request_.set(http::field::connection, "close");
    http::async_write(
        stream_, request_, [self = shared_from_this()](boost::system::error_code code, std::size_t) {
          if (code) return self->fail("send", code);
          self->parser_.body_limit(kMaxAnswerBytes);
          // The status line is the answer; the body does not matter.
          http::async_read_header(
              self->stream_, self->buffer_, self->parser_,
              [self](boost::system::error_code failed, std::size_t) {
                if (failed) return self->fail("read", failed);
                const int status = self->parser_.get().result_int();
                if (status >= 200 && status < 400) return self->finish({});
                self->finish(error(Errc::kUnavailable, "HTTP status " + std::to_string(status)));
              });
        });
  }

  void fail(const char* what, boost::system::error_code code) {
    const bool late = code == beast::error::timeout;
    finish(
        error(late ? Errc::kTimeout : Errc::kUnavailable, late ? "no answer within " + to_text(probe_.timeout)
                                                               : std::string(what) + ": " + code.message()));
  }
  void finish(Status status) {
    boost::system::error_code ignored;
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    stream_.close();
    if (auto done = std::exchange(done_, nullptr)) done(std::move(status));
  }

  beast::tcp_stream stream_;
  Probe probe_;
  std::function<void(Status)> done_;
  http::request<http::empty_body> request_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_{64 * 1024};
};

}  // namespace

std::shared_ptr<void> dial(asio::any_io_executor executor, const std::string& address, const Probe& probe,
                           std::function<void(Status)> done) {
  auto dialling = std::make_shared<Dial>(std::move(executor), probe, std::move(done));
  dialling->start(address);
  return std::shared_ptr<void>(nullptr, [dialling](void*) { dialling->cancel(); });
}

}  // namespace decklog::agent
