#include "services/http/server.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/services/http/http_fixture.hpp"

namespace decklog::http {
namespace {

using testing::HasSubstr;
using testing::Not;

class HttpServer : public testing::Test {
 protected:
  void serve(ServerLimits limits, Handler handler = nullptr) {
    if (!handler) {
      handler = [](Request request, Responder responder) {
        responder.send({200, "text/plain", request.method + " " + request.target + " " + request.body, {}});
      };
    }
    loop_.call([&] {
      server_ = std::make_unique<Server>(loop_.executor(), limits, std::move(handler));
      const auto listening = server_->listen_unix(path_);
      EXPECT_TRUE(listening) << describe(listening.error());
    });
  }
  void TearDown() override {
    loop_.call([&] { server_.reset(); });
  }
  ServerCounters counters() {
    return loop_.call([&] { return server_->counters(); });
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path() + "/s.sock";
  Loop loop_;
  std::unique_ptr<Server> server_;
};

TEST_F(HttpServer, KeepsTheConnectionAndAnswersEachRequest) {
  serve({});
  RawClient client(path_);
  ASSERT_TRUE(client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_THAT(client.read_until("GET /a"), HasSubstr("200 OK"));
  ASSERT_TRUE(client.send(
      "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyGET /c HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_THAT(client.read_until("GET /c"), HasSubstr("POST /b body"));
  EXPECT_EQ(counters().accepted, 1u);
  EXPECT_EQ(counters().requests, 3u);
}

TEST_F(HttpServer, SaysWhoConnectedAndGuardsTheSocketFile) {
  std::promise<Peer> seen;
  serve({}, [&](Request request, Responder responder) {
    seen.set_value(request.peer);
    responder.send({204, "", "", {}});
  });
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto answer = request({path_}, {});
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->status, 204);
  const Peer peer = seen.get_future().get();
  ASSERT_TRUE(peer.credentials);
  EXPECT_EQ(*peer.credentials, (PeerCredentials{::getpid(), ::getuid(), ::getgid()}));
}

TEST_F(HttpServer, RefusesWhatIsTooLargeOrMalformed) {
  ServerLimits limits;
  limits.body_bytes = 1000;
  limits.header_bytes = 2000;
  serve(limits);
  const auto answer_to = [&](const std::string& text) {
    RawClient client(path_);
    client.send(text);
    return client.read_until("<never>");
  };
  EXPECT_THAT(
      answer_to("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x')),
      HasSubstr(" 413 "));
  EXPECT_THAT(answer_to("GET / HTTP/1.1\r\nX: " + std::string(5000, 'x') + "\r\n\r\n"), HasSubstr(" 431 "));
  EXPECT_THAT(answer_to("\x16\x03\x01 garbage\r\n\r\n"), HasSubstr(" 400 "));
  EXPECT_THAT(answer_to("GET a%zz HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr(" 400 "));
  EXPECT_THAT(answer_to("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
              HasSubstr(" 400 "));
  EXPECT_EQ(counters().requests, 0u);
  EXPECT_EQ(counters().refused, 5u);
}

TEST_F(HttpServer, CutsAPeerThatNeverFinishesItsRequest) {
  ServerLimits limits;
  limits.header_deadline = limits.body_deadline = std::chrono::milliseconds(50);
  serve(limits);
  RawClient header(path_), body(path_);
  header.send("GET / HTTP/1.1\r\nHo");
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(header.read_until("<never>"), "<closed>");
  EXPECT_EQ(body.read_until("<never>"), "<closed>");
  EXPECT_EQ(counters().requests, 0u);
  EXPECT_EQ(counters().timeouts, 2u);
}

TEST_F(HttpServer, AnIdleConnectionMakesRoomForANewOne) {
  ServerLimits limits;
  limits.max_connections = 2;
  serve(limits);
  RawClient first(path_), second(path_);
  for (auto* client : {&first, &second}) {
    client->send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client->read_until("GET /x"), HasSubstr(" 200 "));
  }
  RawClient third(path_);
  third.send("GET /third HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(third.read_until("GET /third"), HasSubstr(" 200 "));
  EXPECT_EQ(first.read_until("<never>"), "<closed>");
  EXPECT_EQ(counters().evicted_idle, 1u);
  EXPECT_EQ(counters().connections, 2u);
}

TEST_F(HttpServer, RequestsBeyondTheBoundWaitTheirTurn) {
  ServerLimits limits;
  limits.max_requests = 1;
  std::vector<Responder> held;
  std::promise<void> first_is_in;
  serve(limits, [&](Request request, Responder responder) {
    if (request.target != "/held") return responder.send({200, "text/plain", "free", {}});
    held.push_back(std::move(responder));
    first_is_in.set_value();
  });
  RawClient slow(path_), next(path_);
  slow.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  first_is_in.get_future().get();
  next.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
  while (counters().requests < 2) std::this_thread::yield();
  pollfd quiet{next.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&quiet, 1, 0), 0);
  loop_.call([&] {
    held.front().send({200, "text/plain", "late", {}});
    held.clear();
  });
  EXPECT_THAT(slow.read_until("late"), HasSubstr(" 200 "));
  EXPECT_THAT(next.read_until("free"), HasSubstr(" 200 "));
}

TEST_F(HttpServer, ARequestNobodyAnswersGetsA500) {
  serve({}, [](Request, Responder) {});
  const auto answer = request({path_}, {});
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->status, 500);
}

TEST_F(HttpServer, StreamsLinesUntilTheHandlerCloses) {
  std::shared_ptr<ResponseStream> stream;
  serve({}, [&](Request, Responder responder) {
    stream = responder.stream(200, "application/x-ndjson");
    EXPECT_TRUE(stream->write("{\"n\":1}\n{\"n\":"));
    boost::asio::post(loop_.executor(), [&] {
      EXPECT_TRUE(stream->write("2}\n"));
      stream->close();
      EXPECT_EQ(stream->write("x").error().code, Errc::kClosed);
    });
  });
  std::vector<std::string> lines;
  const auto answer = stream_lines({path_}, {}, [&](std::string_view line) {
    lines.emplace_back(line);
    return true;
  });
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->status, 200);
  EXPECT_THAT(lines, testing::ElementsAre(R"({"n":1})", R"({"n":2})"));
  loop_.call([&] { stream.reset(); });
}

TEST_F(HttpServer, AStreamNoticesThatItsReaderWentAway) {
  std::shared_ptr<ResponseStream> stream;
  std::promise<void> gone;
  serve({}, [&](Request, Responder responder) {
    stream = responder.stream(200, "application/x-ndjson");
    stream->on_closed([&] { gone.set_value(); });
    EXPECT_TRUE(stream->write("first\n"));
  });
  const auto answer = stream_lines({path_}, {}, [](std::string_view) { return false; });
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  loop_.call([&] {
    EXPECT_EQ(stream->write("x").error().code, Errc::kClosed);
    stream.reset();
  });
}

TEST_F(HttpServer, AReaderThatNeverReadsCannotGrowTheStream) {
  ServerLimits limits;
  limits.stream_buffer_bytes = 100'000;
  std::shared_ptr<ResponseStream> stream;
  std::promise<void> opened;
  serve(limits, [&](Request, Responder responder) {
    stream = responder.stream(200, "text/plain");
    opened.set_value();
  });
  RawClient client(path_);
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  opened.get_future().get();
  Errc end = Errc::kOk;
  for (int i = 0; i < 1000 && end == Errc::kOk; ++i) {
    loop_.call([&] {
      if (const auto written = stream->write(std::string(10'000, 'x')); !written) end = written.error().code;
      EXPECT_LE(stream->buffered_bytes(), limits.stream_buffer_bytes);
    });
  }
  EXPECT_EQ(end, Errc::kTooLarge);
  loop_.call([&] { stream.reset(); });
}

TEST_F(HttpServer, TakesTheSocketOfADeadServerButNotOfALivingOne) {
  serve({});
  loop_.call([&] {
    Server second(loop_.executor(), {}, nullptr);
    EXPECT_EQ(second.listen_unix(path_).error().code, Errc::kAlreadyExists);
  });
  EXPECT_TRUE(request({path_}, {}));  // the refused one did not take the file with it
  loop_.call([&] { server_.reset(); });
  EXPECT_FALSE(std::filesystem::exists(path_));
  {
    const int left_over = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    ASSERT_EQ(::bind(left_over, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ::close(left_over);
  }
  serve({});
  EXPECT_TRUE(request({path_}, {}));
}

TEST_F(HttpServer, CloseLetsARequestInHandEnd) {
  std::vector<Responder> held;
  std::promise<void> in;
  serve({}, [&](Request, Responder responder) {
    held.push_back(std::move(responder));
    in.set_value();
  });
  RawClient busy(path_), idle(path_);
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  in.get_future().get();
  std::promise<void> closed;
  loop_.call([&] {
    server_->close(std::chrono::seconds(30), [&] { closed.set_value(); });
    held.front().send({200, "text/plain", "done", {}});
    held.clear();
  });
  EXPECT_THAT(busy.read_until("done"), HasSubstr("Connection: close"));
  ::shutdown(busy.fd(), SHUT_WR);
  EXPECT_EQ(closed.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_FALSE(RawClient(path_).connected());
}

TEST_F(HttpServer, HeadHasNoBodyAndHttp10Closes) {
  serve({});
  RawClient head(path_), old(path_);
  head.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string both = head.read_until("GET /b");
  EXPECT_THAT(both, Not(HasSubstr("HEAD /a")));
  EXPECT_THAT(both, HasSubstr("Content-Length: 8"));
  old.send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.read_until("<never>"), HasSubstr("GET /old <closed>"));
}

}  // namespace
}  // namespace decklog::http
