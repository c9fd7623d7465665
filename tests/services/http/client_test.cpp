#include "services/http/client.hpp"

#include <gmock/gmock.h>

#include "tests/services/http/http_fixture.hpp"

namespace decklog::http {
namespace {

TEST(HttpClient, SaysWhyThereIsNoAnswer) {
  TemporaryDirectory directory;
  EXPECT_EQ(request({directory.path() + "/none.sock"}, {}).error().code, Errc::kUnavailable);
  EXPECT_EQ(request({std::string(200, 'x')}, {}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(request({"", "localhost", 1}, {}).error().code, Errc::kInvalidArgument);
}

class HttpClientWith : public testing::Test {
 protected:
  void serve(Handler handler) {
    loop_.call([&] {
      server_ = std::make_unique<Server>(loop_.executor(), ServerLimits{}, std::move(handler));
      port_ = server_->listen_tcp("127.0.0.1", 0).value();
    });
  }
  void TearDown() override {
    loop_.call([&] {
      held_.clear();
      server_.reset();
    });
  }
  Loop loop_;
  std::unique_ptr<Server> server_;
  std::vector<Responder> held_;
  std::uint16_t port_ = 0;
};

TEST_F(HttpClientWith, AServerThatAnswersInTimeAndOneThatDoesNot) {
  serve([&](Request got, Responder responder) {
    if (got.target == "/never") return held_.push_back(std::move(responder));
    responder.send({201, "application/json", got.body + got.peer.address.substr(0, 10), {{"X-Kind", "k"}}});
  });
  const auto answer = request({"", "127.0.0.1", port_}, {.method = "PUT", .target = "/x", .body = "hello "});
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "hello 127.0.0.1:");
  ASSERT_NE(answer->header("x-kind"), nullptr);
  ClientLimits limits;
  limits.answer_deadline = std::chrono::milliseconds(50);
  EXPECT_EQ(request({"", "127.0.0.1", port_}, {.target = "/never"}, limits).error().code, Errc::kTimeout);
}

TEST_F(HttpClientWith, BoundsTheAnswerAndReportsAnErrorStatusOfAStream) {
  serve([](Request got, Responder responder) {
    if (got.target == "/big") return responder.send({200, "text/plain", std::string(5000, 'x'), {}});
    responder.send(json_error(404, "no such module"));
  });
  ClientLimits limits;
  limits.body_bytes = 1000;
  EXPECT_EQ(request({"", "127.0.0.1", port_}, {.target = "/big"}, limits).error().code, Errc::kTooLarge);
  bool called = false;
  const auto answer = stream_lines({"", "127.0.0.1", port_}, {.target = "/logs"},
                                   [&](std::string_view) { return called = true; });
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->body, R"({"message":"no such module"})");
  EXPECT_FALSE(called);
}

TEST_F(HttpClientWith, ACancelledRequestIsNeverReported) {
  std::promise<void> arrived;
  serve([&](Request, Responder responder) {
    held_.push_back(std::move(responder));
    arrived.set_value();
  });
  bool reported = false;
  auto handle = loop_.call([&] {
    return async_request(loop_.executor(), {"", "127.0.0.1", port_}, {}, {},
                         [&](Result<Response>) { reported = true; });
  });
  arrived.get_future().get();
  loop_.call([&] {
    handle.reset();
    held_.clear();
  });
  // A whole later exchange on the same loop: a callback that was on its way would have run before it.
  std::promise<bool> second;
  auto again = loop_.call([&] {
    return async_request(loop_.executor(), {"", "127.0.0.1", 1}, {}, {},
                         [&](Result<Response> got) { second.set_value(got.has_value()); });
  });
  EXPECT_FALSE(second.get_future().get());
  EXPECT_FALSE(loop_.call([&] { return reported; }));
  loop_.call([&] { again.reset(); });
}

}  // namespace
}  // namespace decklog::http
