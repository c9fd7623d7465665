// What a refused condition says, where, and the bounds of what is accepted.
#include "services/routing/condition.hpp"

#include <gtest/gtest.h>

#include <string>

#include "services/routing/limits.hpp"

namespace decklog::routing {
namespace {

struct Refusal final {
  std::uint32_t column = 0;
  std::uint32_t length = 0;
  std::string message;
};

Refusal refusal(std::string_view query, std::string_view source = "/messages") {
  Diagnostic diagnostic;
  EXPECT_FALSE(compile_condition(query, source, diagnostic)) << query;
  return {diagnostic.column, diagnostic.length, diagnostic.message};
}

bool mentions(const std::string& text, std::string_view word) {
  return text.find(word) != std::string::npos;
}

std::string repeated(std::string_view piece, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += piece;
  return text;
}

TEST(ConditionRefusal, PointsAtTheOperatorWhoseOperandsDoNotFit) {
  const Refusal found = refusal("room = 'a' and temp > 30");
  EXPECT_EQ(found.column, 21u);
  EXPECT_EQ(found.length, 1u);
  EXPECT_TRUE(mentions(found.message, "text and a number")) << found.message;
  EXPECT_TRUE(mentions(found.message, "as_number")) << found.message;
}

TEST(ConditionRefusal, CountsColumnsInCharacters) {
  EXPECT_EQ(refusal("'żółć😀' = 5").column, 9u);
  EXPECT_EQ(refusal("1 +\n 'x'").column, 3u);
}

TEST(ConditionRefusal, NamesTheWordFoundAndWhatWasExpected) {
  const Refusal found = refusal("true false");
  EXPECT_EQ(found.column, 6u);
  EXPECT_EQ(found.length, 5u);
  EXPECT_TRUE(mentions(found.message, "'false'"));
  EXPECT_TRUE(mentions(found.message, "operator"));
  EXPECT_EQ(refusal("true and").column, 9u);
  EXPECT_TRUE(mentions(refusal("true and").message, "ends here"));
}

TEST(ConditionRefusal, PointsAtTheBracketThatIsNeverClosed) {
  const Refusal found = refusal("true and (true or false");
  EXPECT_EQ(found.column, 10u);
  EXPECT_TRUE(mentions(found.message, "never closed"));
}

TEST(ConditionRefusal, MarksAWholeCallWithBadArguments) {
  const Refusal found = refusal("1 = 1 and abs('x') = 1");
  EXPECT_EQ(found.column, 11u);
  EXPECT_EQ(found.length, 8u);
  EXPECT_TRUE(mentions(found.message, "abs() expects a number as argument 1, but has text"));
}

TEST(ConditionRefusal, PointsInsideABodyPath) {
  EXPECT_EQ(refusal("$body.a..b = 1").column, 9u);
  EXPECT_EQ(refusal("1 = $body.list[x]").column, 15u);
  EXPECT_EQ(refusal("$body.list[1 = 1").column, 11u);
}

TEST(ConditionRefusal, BecomesAnErrorWithAColumn) {
  const Result<Condition> result = compile_condition("nosuch(1)");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kMalformed);
  EXPECT_EQ(result.error().where, "column 1");
  EXPECT_EQ(to_error({"m", 7, 1}, "up").where, "route up, column 7");
}

TEST(ConditionRefusal, TwinChangeNeedsItsSource) {
  const Refusal found = refusal("twin_change_includes(tags.a)", "/messages");
  EXPECT_TRUE(mentions(found.message, "/twinChangeNotifications"));
  Diagnostic diagnostic;
  EXPECT_TRUE(compile_condition("twin_change_includes(tags.a)", "/twinchangenotifications/*", diagnostic));
}

TEST(ConditionBounds, AQueryMayBeAsLongAsTheLimitAndNoLonger) {
  const std::string fits = "true" + std::string(kMaxQueryBytes - 4, ' ');
  Diagnostic diagnostic;
  EXPECT_TRUE(compile_condition(fits, "/messages", diagnostic));
  EXPECT_TRUE(mentions(refusal(fits + " ").message, "limit"));
}

TEST(ConditionBounds, NestingIsBounded) {
  const auto nested = [](std::size_t levels) {
    return repeated("(", levels) + "true" + repeated(")", levels);
  };
  Diagnostic diagnostic;
  EXPECT_TRUE(compile_condition(nested(kMaxNestingLevels), "/messages", diagnostic));
  EXPECT_EQ(refusal(nested(kMaxNestingLevels + 1)).column, kMaxNestingLevels + 1);
  EXPECT_TRUE(mentions(refusal(repeated("not ", 101) + "true").message, "nesting"));
  EXPECT_TRUE(mentions(refusal(repeated("abs(", 101) + "1").message, "nesting"));
}

TEST(ConditionBounds, ALongChainIsNoNesting) {
  Diagnostic diagnostic;
  const auto chain = compile_condition("true" + repeated(" and true", 5000), "/messages", diagnostic);
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->stack, 2u);
}

TEST(ConditionBounds, PartsAndArgumentsAreBounded) {
  EXPECT_TRUE(mentions(refusal("1" + repeated(" + 1", 8200)).message, "parts"));
  EXPECT_TRUE(mentions(refusal("concat('a'" + repeated(",'a'", 64) + ")").message, "arguments"));
  EXPECT_TRUE(mentions(refusal("$body.a" + repeated(".a", 64) + " = 1").message, "steps"));
}

TEST(ConditionPrint, WritesEveryBracket) {
  const Result<Condition> condition =
      compile_condition("not a = b or {$x} || 'q\"' = $body.l[0] and abs(-1) > .5");
  ASSERT_FALSE(condition);  // not binds tighter than =
  const Result<Condition> fixed =
      compile_condition("not (a = b) or {$x} || 'q\"' = $body.l[0] and abs(-1) > .5");
  ASSERT_TRUE(fixed);
  EXPECT_EQ(print(*fixed), "((not (a = b)) or ((({$x} || \"q\\\"\") = {$body.l[0]}) and (abs(-1) > 0.5)))");
}

TEST(ConditionShape, KnowsWhetherItReadsTheBody) {
  EXPECT_TRUE(compile_condition("$body.a = 1")->reads_body);
  EXPECT_FALSE(compile_condition("a = 'x'")->reads_body);
}

}  // namespace
}  // namespace decklog::routing
