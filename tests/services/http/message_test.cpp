#include "services/http/message.hpp"

#include <gmock/gmock.h>

namespace decklog::http {
namespace {

using testing::ElementsAre;

TEST(HttpMessage, TargetIsSplitAndDecoded) {
  Request request;
  ASSERT_TRUE(parse_target("/modules/a%20b%2Fc/genid/1/?api-version=2018-06-28&x=%26", request));
  EXPECT_THAT(request.segments, ElementsAre("modules", "a b/c", "genid", "1"));
  EXPECT_EQ(request.parameter("api-version"), "2018-06-28");
  EXPECT_EQ(request.parameter("x"), "&");
  EXPECT_EQ(request.parameter("missing"), "");
}

TEST(HttpMessage, BadTargetsAreRefused) {
  for (const char* target : {"", "*", "modules", "http://host/x", "/a%zz", "/a b", "/a%2"}) {
    Request request;
    const auto parsed = parse_target(target, request);
    ASSERT_FALSE(parsed) << target;
    EXPECT_EQ(parsed.error().code, Errc::kMalformed);
  }
}

TEST(HttpMessage, ErrorIsJsonWithEscapes) {
  const Response response = json_error(404, "no \"such\" thing\n");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, R"({"message":"no \"such\" thing\n"})");
}

}  // namespace
}  // namespace decklog::http
