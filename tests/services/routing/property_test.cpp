// Laws that hold for every condition: random well-typed ones are built from a list of random choices.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "services/routing/evaluation.hpp"
#include "services/routing/limits.hpp"
#include "services/routing/route.hpp"

namespace decklog::routing {
namespace {

using Choices = std::vector<std::uint8_t>;

// Writes a condition of the wanted kind, spending one choice a step; out of choices it ends quickly.
class Writer final {
 public:
  explicit Writer(const Choices& choices) : choices_(choices) {}

  std::string truth(int depth) {
    switch (pick(depth, 10)) {
      case 0:
        return "true";
      case 1:
        return "false";
      case 2:
        return "(" + truth(depth + 1) + " and " + truth(depth + 1) + ")";
      case 3:
        return "(" + truth(depth + 1) + " or " + truth(depth + 1) + ")";
      case 4:
        return "(not " + truth(depth + 1) + ")";
      case 5:
        return "(" + number(depth + 1) + order() + number(depth + 1) + ")";
      case 6:
        return "(" + text(depth + 1) + order() + text(depth + 1) + ")";
      case 7:
        return "contains(" + text(depth + 1) + ", " + text(depth + 1) + ")";
      case 8:
        return "is_defined(" + text(depth + 1) + ")";
      default:
        return "($body.n" + order() + number(depth + 1) + ")";
    }
  }

  std::string number(int depth) {
    switch (pick(depth, 8)) {
      case 0:
        return "7";
      case 1:
        return "-2.5";
      case 2:
        return "(" + number(depth + 1) + " + " + number(depth + 1) + ")";
      case 3:
        return "(" + number(depth + 1) + " / " + number(depth + 1) + ")";
      case 4:
        return "(- " + number(depth + 1) + ")";
      case 5:
        return "as_number(" + text(depth + 1) + ")";
      case 6:
        return "length(" + text(depth + 1) + ")";
      default:
        return "floor(" + number(depth + 1) + ")";
    }
  }

  std::string text(int depth) {
    switch (pick(depth, 8)) {
      case 0:
        return "'a\\u0041\"'";
      case 1:
        return "present";
      case 2:
        return "absent";
      case 3:
        return "$pair";
      case 4:
        return "(" + text(depth + 1) + " || " + text(depth + 1) + ")";
      case 5:
        return "upper(" + text(depth + 1) + ")";
      case 6:
        return "substring(" + text(depth + 1) + ", " + number(depth + 1) + ")";
      default:
        return "(" + text(depth + 1) + " ?? " + text(depth + 1) + ")";
    }
  }

 private:
  std::string order() {
    static const char* const kOrders[] = {" = ", " != ", " < ", " <= ", " > ", " >= "};
    return kOrders[pick(0, 6)];
  }

  unsigned pick(int depth, unsigned count) {
    if (at_ == choices_.size()) return 0;
    const unsigned choice = choices_[at_++];
    return depth > 12 ? choice % 2 : choice % count;
  }

  const Choices& choices_;
  std::size_t at_ = 0;
};

const PropertyView kApplication[] = {{"present", "12"}, {"$pair", "a😀b"}};
const PropertyView kSystem[] = {{"contentType", "application/json"}, {"contentEncoding", "utf-8"}};
const MessageView kMessage{"/messages", "{\"n\":3}", kApplication, kSystem};

Condition compiled(const std::string& query) {
  Result<Condition> condition = compile_condition(query);
  RC_ASSERT(condition.has_value());
  return *condition;
}

Truth run(const std::string& query) {
  Evaluation evaluation(kMessage);
  return evaluation.run(compiled(query));
}

Truth opposite(Truth truth) {
  return truth == Truth::kUndefined ? truth : truth == Truth::kTrue ? Truth::kFalse : Truth::kTrue;
}

TEST(ConditionLaws, PrintingAndCompilingAgainGivesTheSameParts) {
  EXPECT_TRUE(rc::check([](const Choices& choices) {
    const Condition condition = compiled(Writer(choices).truth(0));
    const Condition again = compiled(print(condition));
    RC_ASSERT(same_parts(condition, again));
    RC_ASSERT(print(again) == print(condition));
  }));
}

TEST(ConditionLaws, LeavingPartsOutChangesNothing) {
  EXPECT_TRUE(rc::check([](const Choices& choices) {
    const Condition condition = compiled(Writer(choices).truth(0));
    Evaluation evaluation(kMessage);
    std::vector<Value> values;
    RC_ASSERT(evaluation.run(condition) == evaluation.trace(condition, values));
    RC_ASSERT(values.size() == condition.parts.size());
  }));
}

TEST(ConditionLaws, LogicIsThreeValued) {
  EXPECT_TRUE(rc::check([](const Choices& first, const Choices& second) {
    const std::string a = "(" + Writer(first).truth(0) + ")";
    const std::string b = "(" + Writer(second).truth(0) + ")";
    RC_ASSERT(run("not " + a) == opposite(run(a)));
    RC_ASSERT(run(a + " and " + b) == run(b + " and " + a));
    RC_ASSERT(run(a + " or " + b) == run(b + " or " + a));
    RC_ASSERT(run("not (" + a + " and " + b + ")") == run("(not " + a + ") or (not " + b + ")"));
    RC_ASSERT(run(a + " and true") == run(a));
    RC_ASSERT(run(a + " or false") == run(a));
  }));
}

TEST(ConditionLaws, UndefinedSpreadsThroughEverythingButLogicAndQuestions) {
  EXPECT_TRUE(rc::check([](const Choices& choices) {
    Writer writer(choices);
    const std::string text = writer.text(0);
    const std::string number = writer.number(0);
    for (const char* op : {" = ", " <> ", " < ", " >= "}) {
      RC_ASSERT(run("absent" + std::string(op) + text) == Truth::kUndefined);
      RC_ASSERT(run(number + op + "as_number(absent)") == Truth::kUndefined);
    }
    RC_ASSERT(run("is_defined(absent || " + text + ")") == Truth::kFalse);
    RC_ASSERT(run("is_defined(" + number + " * as_number(absent))") == Truth::kFalse);
    RC_ASSERT(run("starts_with(" + text + ", absent)") == Truth::kUndefined);
  }));
}

TEST(ConditionLaws, OrderIsTotalOnDefinedValues) {
  EXPECT_TRUE(rc::check([](const Choices& first, const Choices& second) {
    const std::string a = Writer(first).text(0);
    const std::string b = Writer(second).text(0);
    const Truth less = run(a + " < " + b);
    const Truth equal = run(a + " = " + b);
    const Truth more = run(a + " > " + b);
    if (less == Truth::kUndefined) {
      RC_ASSERT(equal == Truth::kUndefined && more == Truth::kUndefined);
    } else {
      RC_ASSERT((less == Truth::kTrue) + (equal == Truth::kTrue) + (more == Truth::kTrue) == 1);
      RC_ASSERT(run(a + " <= " + b) == opposite(more));
    }
  }));
}

TEST(ConditionLaws, AnyTextIsCompiledOrRefusedWithAColumnInsideIt) {
  EXPECT_TRUE(rc::check([](const std::string& query) {
    Diagnostic diagnostic;
    const std::optional<Condition> condition = compile_condition(query, "/messages", diagnostic);
    if (condition) {
      Evaluation evaluation(kMessage);
      evaluation.run(*condition);
    } else {
      RC_ASSERT(!diagnostic.message.empty());
      RC_ASSERT(diagnostic.column >= 1 && diagnostic.column <= query.size() + 1);
    }
  }));
}

// Words of the language in any order reach further into the parser than random letters.
TEST(ConditionLaws, AnyWordsAreCompiledOrRefused) {
  static const std::vector<std::string> kWords = {"FROM",
                                                  "WHERE",
                                                  "INTO",
                                                  "SELECT",
                                                  "*",
                                                  "/",
                                                  "/messages",
                                                  "$upstream",
                                                  "(",
                                                  ")",
                                                  "{",
                                                  "}",
                                                  ",",
                                                  ";",
                                                  "not",
                                                  "and",
                                                  "or",
                                                  "??",
                                                  "=",
                                                  "<>",
                                                  "<",
                                                  ">=",
                                                  "+",
                                                  "-",
                                                  "||",
                                                  "%",
                                                  "true",
                                                  "null",
                                                  "undefined",
                                                  "1",
                                                  "0x1f",
                                                  "-3e2",
                                                  "'a'",
                                                  "\"b",
                                                  "name",
                                                  "$sys",
                                                  "$body.a[0].b",
                                                  "$body..",
                                                  "abs",
                                                  "concat",
                                                  "is_null",
                                                  "/*",
                                                  "*/",
                                                  "BrokeredEndpoint",
                                                  "\"/modules/m/inputs/i\"",
                                                  "[",
                                                  "@",
                                                  "\\",
                                                  "ż"};
  EXPECT_TRUE(rc::check([](const Choices& choices) {
    std::string query;
    for (const std::uint8_t choice : choices)
      query += kWords[choice % kWords.size()] + (choice % 3 == 0 ? "" : " ");
    Diagnostic diagnostic;
    RouteSpec spec;
    spec.query = query;
    const std::optional<Condition> condition = compile_condition(query, "/messages", diagnostic);
    if (condition) RC_ASSERT(same_parts(*condition, compiled(print(*condition))));
    if (!compile_route(spec, diagnostic)) RC_ASSERT(!diagnostic.message.empty());
  }));
}

// The best priority wins whatever the order of the routes, and every matching route is named once.
TEST(RouteSetLaws, TheBestPriorityWins) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& rows) {
    std::vector<RouteSpec> specs;
    std::uint32_t best[3] = {kDefaultPriority + 1, kDefaultPriority + 1, kDefaultPriority + 1};
    for (const std::uint8_t row : rows) {
      const unsigned endpoint = row % 3;
      const bool matches = row % 2 == 0;
      RouteSpec spec;
      spec.name = std::to_string(specs.size());
      spec.priority = row % 10;
      spec.query = std::string("FROM /messages WHERE ") + (matches ? "true" : "absent = 'x'") +
                   " INTO BrokeredEndpoint('/modules/m/inputs/" + std::to_string(endpoint) + "')";
      if (matches) best[endpoint] = std::min(best[endpoint], spec.priority);
      specs.push_back(spec);
    }
    const RouteSet set = RouteSet::compile(specs);
    std::vector<Delivery> deliveries;
    set.evaluate(kMessage, deliveries);
    std::size_t expected = 0;
    for (const std::uint32_t priority : best) expected += priority <= kDefaultPriority ? 1 : 0;
    RC_ASSERT(deliveries.size() == expected);
    for (const Delivery& each : deliveries) {
      const unsigned endpoint = static_cast<unsigned>(std::stoul(set.endpoints()[each.endpoint].input));
      RC_ASSERT(each.priority == best[endpoint]);
      RC_ASSERT(!each.matching.empty());
    }
  }));
}

}  // namespace
}  // namespace decklog::routing
