// A condition of a route, checked and ready to run: the parts in the order they are computed (operands before
// the operator), so running it is one loop over an array without recursion. Lifetime: a Condition owns its
// texts; it never changes after compile_condition. Thread: values; one Condition may be run by several
// threads at once, each with its own Evaluation. Failure: compile_condition says the first thing wrong, its
// column and what was expected. Limits: services/routing/limits.hpp. Rules: services/routing/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"

namespace decklog::routing {

// What a part is known to give before any message is seen. kBody: decided by the message's body.
enum class Type : std::uint8_t { kTruth, kNumber, kText, kNull, kUndefined, kBody };
const char* to_string(Type type);

enum class Op : std::uint8_t {
  kTruth,   // number: 0 or 1
  kNumber,  // number
  kText,    // texts[operand]
  kNull,
  kUndefined,
  kProperty,    // application property texts[operand]
  kSystem,      // application property texts[operand] with its $, else the system property without
  kSystemOnly,  // system property texts[operand] without its $
  kBody,        // application property named like the path, else paths[operand]
  kBodyOnly,    // paths[operand]
  kTwinChange,  // whether paths[operand] is part of the change
  kNegate,
  kNot,
  kMultiply,
  kDivide,
  kRemainder,
  kAdd,
  kSubtract,
  kConcat,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kEqual,
  kNotEqual,
  kAnd,
  kOr,
  kCoalesce,
  kCall,  // function `function` on `arity` arguments
};

enum class Function : std::uint8_t {
  kAbs,
  kExp,
  kPower,
  kSquare,
  kCeiling,
  kFloor,
  kSign,
  kSqrt,
  kAsNumber,
  kIsBool,
  kIsDefined,
  kIsNull,
  kIsNumber,
  kIsString,
  kConcat,
  kLength,
  kLower,
  kUpper,
  kSubstring,
  kIndexOf,
  kStartsWith,
  kEndsWith,
  kContains,
  kTwinChangeIncludes,
};

// When the value of a left operand already decides, the right one is not computed.
enum class Exit : std::uint8_t { kNever, kIfFalse, kIfTrue, kIfDefined };

struct Part final {
  Op op = Op::kUndefined;
  Type type = Type::kUndefined;
  Function function = Function::kAbs;
  Exit exit = Exit::kNever;
  bool mixed = false;       // an operand comes from the body: kinds are compared at run time
  std::uint8_t arity = 0;   // operands taken from the stack
  std::uint32_t begin = 0;  // bytes of the query this part stands for
  std::uint32_t end = 0;
  std::uint32_t first = 0;    // index of the first part of this sub-expression
  std::uint32_t exit_to = 0;  // the operator decided by `exit`
  std::uint32_t operand = 0;
  double number = 0;
};

struct PathStep final {
  std::string key;  // empty for an index
  std::uint32_t index = 0;
  bool is_index = false;
};

struct BodyPath final {
  std::string name;  // as written, with $body.
  std::vector<PathStep> steps;
};

struct Condition final {
  std::string query;         // as written
  std::uint32_t origin = 0;  // byte of the route at which it begins
  std::vector<Part> parts;
  std::vector<std::string> texts;
  std::vector<BodyPath> paths;
  std::uint32_t stack = 0;  // values alive at once, at most
  bool reads_body = false;
};

// The first thing wrong with a query. Columns count characters from 1.
struct Diagnostic final {
  std::string message;
  std::uint32_t column = 1;
  std::uint32_t length = 1;  // characters to mark
};
// kMalformed; where = "column 7", or "route up, column 7".
Error to_error(const Diagnostic& diagnostic, std::string_view route_name = {});

// `source` is the source path of the route the condition belongs to; it decides whether twin_change_includes
// may be used. An empty condition is allowed and always undefined.
std::optional<Condition> compile_condition(std::string_view query, std::string_view source,
                                           Diagnostic& diagnostic);
Result<Condition> compile_condition(std::string_view query, std::string_view source = "/messages");

// The condition written out again with every bracket; compiling that gives the same parts.
std::string print(const Condition& condition);
// Same parts, wherever they stood in their queries.
bool same_parts(const Condition& left, const Condition& right);

}  // namespace decklog::routing
