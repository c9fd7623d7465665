// Running conditions: laziness, reuse between conditions, and bounds on the work one message can cause.
#include "services/routing/evaluation.hpp"

#include <gtest/gtest.h>

#include <string>

#include "services/routing/limits.hpp"

namespace decklog::routing {
namespace {

Condition compiled(std::string_view query) {
  Result<Condition> condition = compile_condition(query);
  EXPECT_TRUE(condition) << query;
  return condition ? *condition : Condition{};
}

const PropertyView kJson[] = {{"contentType", "application/json"}, {"contentEncoding", "utf-8"}};
const PropertyView kRoom[] = {{"room", "attic"}, {"ROOM", "second"}};

TEST(Evaluation, ReadsTheBodyOnlyWhenAConditionAsks) {
  const MessageView message{"/messages", "{\"a\":1}", kRoom, kJson};
  Evaluation evaluation(message);
  EXPECT_EQ(evaluation.run(compiled("room = 'attic'")), Truth::kTrue);
  EXPECT_FALSE(evaluation.body_was_read());
  EXPECT_EQ(evaluation.run(compiled("room = 'cellar' and $body.a = 1")), Truth::kFalse);
  EXPECT_EQ(evaluation.run(compiled("room = 'attic' or $body.a = 1")), Truth::kTrue);
  EXPECT_FALSE(evaluation.body_was_read()) << "the left side had decided";
  EXPECT_EQ(evaluation.run(compiled("$body.a = 1")), Truth::kTrue);
  EXPECT_TRUE(evaluation.body_was_read());
}

TEST(Evaluation, DecidedOperatorsDecideTheOnesAroundThem) {
  const MessageView message{"/messages", "{\"a\":1}", kRoom, kJson};
  Evaluation evaluation(message);
  const Condition condition = compiled("(false and $body.a = 1) and $body.a = 1 or true");
  EXPECT_EQ(evaluation.run(condition), Truth::kTrue);
  EXPECT_FALSE(evaluation.body_was_read());
  EXPECT_EQ(evaluation.run(compiled("('x' ?? 'y' ?? $room) = 'x'")), Truth::kTrue);
}

TEST(Evaluation, OneEvaluationServesManyConditions) {
  const MessageView message{"/messages", "{\"a\":\"AbC\"}", kRoom, kJson};
  Evaluation evaluation(message);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(evaluation.run(compiled("lower($body.a) || upper(room) = 'abcATTIC'")), Truth::kTrue);
    EXPECT_EQ(evaluation.run(compiled("missing = 'x'")), Truth::kUndefined);
  }
}

TEST(Evaluation, TheFirstOfTwoEqualNamesCounts) {
  const MessageView message{"/messages", "", kRoom, {}};
  Evaluation evaluation(message);
  EXPECT_EQ(evaluation.run(compiled("room = 'attic'")), Truth::kTrue);
}

TEST(Evaluation, TraceGivesAValueForEveryPart) {
  const MessageView message{"/messages", "{}", kRoom, kJson};
  Evaluation evaluation(message);
  const Condition condition = compiled("false and room = 'attic'");
  std::vector<Value> values;
  EXPECT_EQ(evaluation.trace(condition, values), Truth::kFalse);
  ASSERT_EQ(values.size(), condition.parts.size());
  EXPECT_EQ(values[1].text, "attic");
  EXPECT_TRUE(values[3].truth);
}

TEST(Evaluation, SaysWhyABodyCannotBeRead) {
  const PropertyView plain[] = {{"contentType", "text/plain"}};
  const MessageView no_type{"/messages", "{}", {}, {}};
  const MessageView text{"/messages", "{}", {}, plain};
  const MessageView broken{"/messages", "{", {}, kJson};
  const MessageView list{"/messages", "[]", {}, kJson};
  const MessageView good{"/messages", "{}", {}, kJson};
  EXPECT_NE(Evaluation(no_type).body_problem().find("no contentType"), std::string::npos);
  EXPECT_NE(Evaluation(text).body_problem().find("not application/json"), std::string::npos);
  EXPECT_NE(Evaluation(broken).body_problem().find("not JSON"), std::string::npos);
  EXPECT_NE(Evaluation(list).body_problem().find("not an object"), std::string::npos);
  EXPECT_EQ(Evaluation(good).body_problem(), "");
}

TEST(EvaluationBounds, ABodyTooLargeOrTooDeepIsNotRead) {
  const Condition condition = compiled("$body.a = 1");
  const std::string large = "{\"a\":1,\"b\":\"" + std::string(kMaxBodyBytes, 'x') + "\"}";
  const MessageView large_message{"/messages", large, {}, kJson};
  EXPECT_EQ(Evaluation(large_message).run(condition), Truth::kUndefined);
  const std::string deep = "{\"a\":1,\"b\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const MessageView deep_message{"/messages", deep, {}, kJson};
  EXPECT_EQ(Evaluation(deep_message).run(condition), Truth::kUndefined);
}

TEST(EvaluationBounds, TextWorkIsBounded) {
  const std::string body = "{\"a\":\"" + std::string(500'000, 'x') + "\"}";
  const MessageView message{"/messages", body, {}, kJson};
  Evaluation evaluation(message);
  EXPECT_EQ(evaluation.run(compiled("length($body.a || $body.a) = 1000000")), Truth::kTrue);
  std::string doubled = "$body.a";
  for (int i = 0; i < 40; ++i) doubled += " || $body.a";
  EXPECT_EQ(evaluation.run(compiled("is_defined(" + doubled + ")")), Truth::kFalse);
  EXPECT_EQ(evaluation.run(compiled("is_defined($body.a)")), Truth::kTrue)
      << "the next condition starts afresh";
}

TEST(EvaluationBounds, SearchingIsLinear) {
  // A needle that almost matches everywhere: quadratic searching would take minutes.
  const std::string body =
      "{\"t\":\"" + std::string(400'000, 'a') + "\",\"n\":\"" + std::string(200'000, 'a') + "b\"}";
  const MessageView message{"/messages", body, {}, kJson};
  Evaluation evaluation(message);
  EXPECT_EQ(evaluation.run(compiled("contains($body.t, $body.n)")), Truth::kFalse);
  EXPECT_EQ(evaluation.run(compiled("index_of($body.t, $body.n) = -1")), Truth::kTrue);
}

}  // namespace
}  // namespace decklog::routing
