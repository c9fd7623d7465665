#include "services/routing/types.hpp"

#include <algorithm>
#include <array>

#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

enum class Takes : std::uint8_t { kNumbers, kTexts, kTextOrNumber, kTextThenNumbers, kAnything, kPath };

struct Signature final {
  std::string_view name;
  Function function;
  Takes takes;
  std::uint8_t fewest;
  std::uint8_t most;  // 255: any number
  Type gives;
};

constexpr std::array kSignatures{
    Signature{"abs", Function::kAbs, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"exp", Function::kExp, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"power", Function::kPower, Takes::kNumbers, 2, 2, Type::kNumber},
    Signature{"square", Function::kSquare, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"ceiling", Function::kCeiling, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"floor", Function::kFloor, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"sign", Function::kSign, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"sqrt", Function::kSqrt, Takes::kNumbers, 1, 1, Type::kNumber},
    Signature{"as_number", Function::kAsNumber, Takes::kTextOrNumber, 1, 1, Type::kNumber},
    Signature{"is_bool", Function::kIsBool, Takes::kAnything, 1, 1, Type::kTruth},
    Signature{"is_defined", Function::kIsDefined, Takes::kAnything, 1, 1, Type::kTruth},
    Signature{"is_null", Function::kIsNull, Takes::kAnything, 1, 1, Type::kTruth},
    Signature{"is_number", Function::kIsNumber, Takes::kAnything, 1, 1, Type::kTruth},
    Signature{"is_string", Function::kIsString, Takes::kAnything, 1, 1, Type::kTruth},
    Signature{"concat", Function::kConcat, Takes::kTexts, 2, 255, Type::kText},
    Signature{"length", Function::kLength, Takes::kTexts, 1, 1, Type::kNumber},
    Signature{"lower", Function::kLower, Takes::kTexts, 1, 1, Type::kText},
    Signature{"upper", Function::kUpper, Takes::kTexts, 1, 1, Type::kText},
    Signature{"substring", Function::kSubstring, Takes::kTextThenNumbers, 2, 3, Type::kText},
    Signature{"index_of", Function::kIndexOf, Takes::kTexts, 2, 2, Type::kNumber},
    Signature{"starts_with", Function::kStartsWith, Takes::kTexts, 2, 2, Type::kTruth},
    Signature{"ends_with", Function::kEndsWith, Takes::kTexts, 2, 2, Type::kTruth},
    Signature{"contains", Function::kContains, Takes::kTexts, 2, 2, Type::kTruth},
    Signature{"twin_change_includes", Function::kTwinChangeIncludes, Takes::kPath, 1, 1, Type::kTruth},
};

const Signature& signature_of(Function function) {
  return *std::find_if(kSignatures.begin(), kSignatures.end(),
                       [&](const Signature& each) { return each.function == function; });
}

bool may_be(Type given, Type wanted) {
  return given == wanted || given == Type::kBody;
}

bool in_body(Type type) {
  return type == Type::kBody;
}

std::string described(Type type) {
  switch (type) {
    case Type::kTruth:
      return "a truth value";
    case Type::kNumber:
      return "a number";
    case Type::kText:
      return "text";
    case Type::kNull:
      return "null";
    case Type::kUndefined:
      return "undefined";
    case Type::kBody:
      return "a body value";
  }
  return "undefined";
}

std::string hint(Type left, Type right) {
  const bool text_and_number =
      (left == Type::kText && right == Type::kNumber) || (left == Type::kNumber && right == Type::kText);
  return text_and_number ? "; properties are text, as_number(...) makes a number of one" : "";
}

std::string operands_problem(Op op, std::string_view wanted, Type left, Type right) {
  return "'" + std::string(spelling(op)) + "' expects " + std::string(wanted) + " on both sides, but has " +
         described(left) + " and " + described(right) + hint(left, right);
}

Typed arithmetic(Op op, Type left, Type right) {
  if (!may_be(left, Type::kNumber) || !may_be(right, Type::kNumber)) {
    return {Type::kUndefined, false, operands_problem(op, "a number", left, right)};
  }
  const bool mixed = in_body(left) || in_body(right);
  return {mixed ? Type::kBody : Type::kNumber, mixed, {}};
}

// Both sides of one kind; a body value goes with every kind but undefined.
bool comparable(Type left, Type right) {
  if (left == right) return true;
  return (in_body(left) && right != Type::kUndefined) || (in_body(right) && left != Type::kUndefined);
}

bool logical(Type type) {
  return type == Type::kTruth || type == Type::kNull || type == Type::kUndefined || type == Type::kBody;
}

Typed logic(Op op, Type left, Type right) {
  // With a body value on the left anything may stand on the right: it is a truth value at run time or the
  // result is undefined.
  if (!logical(left) || (!logical(right) && !in_body(left))) {
    return {Type::kUndefined, false, operands_problem(op, "a truth value", left, right)};
  }
  if (in_body(left) || in_body(right)) return {Type::kTruth, true, {}};
  const bool one_null = left == Type::kNull || right == Type::kNull;
  const bool both_null = left == Type::kNull && right == Type::kNull;
  return {(op == Op::kAnd ? one_null : both_null) ? Type::kNull : Type::kTruth, false, {}};
}

std::string counted(const Signature& signature) {
  const std::string fewest = std::to_string(signature.fewest);
  std::string count = signature.most == 255 ? fewest + " or more arguments"
                      : signature.fewest != signature.most
                          ? fewest + " or " + std::to_string(signature.most) + " arguments"
                      : signature.fewest == 1 ? "one argument"
                                              : fewest + " arguments";
  return std::string(signature.name) + "() expects " + count;
}

Type wanted_at(const Signature& signature, std::size_t index) {
  if (signature.takes == Takes::kNumbers) return Type::kNumber;
  if (signature.takes == Takes::kTextThenNumbers && index > 0) return Type::kNumber;
  return Type::kText;
}

}  // namespace

const char* to_string(Type type) {
  switch (type) {
    case Type::kTruth:
      return "truth value";
    case Type::kNumber:
      return "number";
    case Type::kText:
      return "text";
    case Type::kNull:
      return "null";
    case Type::kUndefined:
      return "undefined";
    case Type::kBody:
      return "body value";
  }
  return "undefined";
}

Typed type_of_prefix(Op op, Type operand) {
  if (op == Op::kNegate) {
    if (may_be(operand, Type::kNumber)) return {operand, in_body(operand), {}};
    return {Type::kUndefined, false, "'-' expects a number, but has " + described(operand)};
  }
  if (operand == Type::kNull || may_be(operand, Type::kTruth)) return {Type::kTruth, in_body(operand), {}};
  return {
      Type::kUndefined, false,
      "'not' expects a truth value, but has " + described(operand) + "; not binds tighter than a comparison"};
}

Typed type_of_binary(Op op, Type left, Type right) {
  const bool mixed = in_body(left) || in_body(right);
  switch (op) {
    case Op::kMultiply:
    case Op::kDivide:
    case Op::kRemainder:
    case Op::kAdd:
    case Op::kSubtract:
      return arithmetic(op, left, right);
    case Op::kConcat:
      if (may_be(left, Type::kText) && may_be(right, Type::kText)) return {Type::kText, mixed, {}};
      return {Type::kUndefined, false, operands_problem(op, "text", left, right)};
    case Op::kAnd:
    case Op::kOr:
      return logic(op, left, right);
    case Op::kCoalesce:
      if (comparable(left, right)) return {mixed ? Type::kBody : left, mixed, {}};
      return {Type::kUndefined, false, operands_problem(op, "values of one kind", left, right)};
    default:
      if (comparable(left, right)) return {Type::kTruth, mixed, {}};
      return {Type::kUndefined, false, operands_problem(op, "values of one kind", left, right)};
  }
}

Typed type_of_call(Function function, std::span<const Type> arguments) {
  const Signature& signature = signature_of(function);
  if (arguments.size() < signature.fewest || (signature.most != 255 && arguments.size() > signature.most)) {
    return {Type::kUndefined, false, counted(signature) + ", but has " + std::to_string(arguments.size())};
  }
  bool mixed = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    mixed = mixed || in_body(arguments[i]);
    if (signature.takes == Takes::kAnything) continue;
    if (signature.takes == Takes::kTextOrNumber && arguments[i] == Type::kNumber) continue;
    const Type wanted = wanted_at(signature, i);
    if (may_be(arguments[i], wanted)) continue;
    return {Type::kUndefined, false,
            std::string(signature.name) + "() expects " + described(wanted) + " as argument " +
                std::to_string(i + 1) + ", but has " + described(arguments[i]) + hint(wanted, arguments[i])};
  }
  return {signature.gives, mixed, {}};
}

std::string_view spelling(Op op) {
  switch (op) {
    case Op::kNegate:
    case Op::kSubtract:
      return "-";
    case Op::kNot:
      return "not";
    case Op::kMultiply:
      return "*";
    case Op::kDivide:
      return "/";
    case Op::kRemainder:
      return "%";
    case Op::kAdd:
      return "+";
    case Op::kConcat:
      return "||";
    case Op::kLess:
      return "<";
    case Op::kLessEqual:
      return "<=";
    case Op::kGreater:
      return ">";
    case Op::kGreaterEqual:
      return ">=";
    case Op::kEqual:
      return "=";
    case Op::kNotEqual:
      return "!=";
    case Op::kAnd:
      return "and";
    case Op::kOr:
      return "or";
    case Op::kCoalesce:
      return "??";
    default:
      return "";
  }
}

std::string_view spelling(Function function) {
  return signature_of(function).name;
}

std::optional<Function> function_named(std::string_view name) {
  for (const Signature& each : kSignatures) {
    if (equal_ignoring_case(each.name, name)) return each.function;
  }
  return std::nullopt;
}

}  // namespace decklog::routing
