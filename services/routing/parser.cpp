#include "services/routing/parser.hpp"

#include <algorithm>

#include "services/routing/limits.hpp"
#include "services/routing/text.hpp"
#include "services/routing/types.hpp"

namespace decklog::routing {
namespace {

struct Binary final {
  Op op;
  int tightness;  // larger binds tighter; 0: no binary operator
};

constexpr int kPrefixTightness = 8;

Binary binary_of(TokenKind kind) {
  switch (kind) {
    case TokenKind::kCoalesce:
      return {Op::kCoalesce, 1};
    case TokenKind::kOr:
      return {Op::kOr, 2};
    case TokenKind::kAnd:
      return {Op::kAnd, 3};
    case TokenKind::kEqual:
      return {Op::kEqual, 4};
    case TokenKind::kNotEqual:
      return {Op::kNotEqual, 4};
    case TokenKind::kLess:
      return {Op::kLess, 5};
    case TokenKind::kLessEqual:
      return {Op::kLessEqual, 5};
    case TokenKind::kGreater:
      return {Op::kGreater, 5};
    case TokenKind::kGreaterEqual:
      return {Op::kGreaterEqual, 5};
    case TokenKind::kPlus:
      return {Op::kAdd, 6};
    case TokenKind::kMinus:
      return {Op::kSubtract, 6};
    case TokenKind::kConcat:
      return {Op::kConcat, 6};
    case TokenKind::kStar:
      return {Op::kMultiply, 7};
    case TokenKind::kSlash:
      return {Op::kDivide, 7};
    case TokenKind::kPercent:
      return {Op::kRemainder, 7};
    default:
      return {Op::kUndefined, 0};
  }
}

Exit exit_of(Op op, Type left, Type right) {
  if (op == Op::kCoalesce) return Exit::kIfDefined;
  if (left != Type::kTruth || right != Type::kTruth) return Exit::kNever;
  return op == Op::kAnd ? Exit::kIfFalse : op == Op::kOr ? Exit::kIfTrue : Exit::kNever;
}

std::uint32_t characters(std::string_view text) {
  return static_cast<std::uint32_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

constexpr std::string_view kValueExpected =
    "a value: text in quotes, a number, true, false, null, a property, $body.path or a function";

}  // namespace

bool Parser::fail(std::uint32_t begin, std::uint32_t end, std::string message) {
  diagnostic_.message = std::move(message);
  diagnostic_.column = characters(text_.substr(0, begin)) + 1;
  diagnostic_.length = std::max<std::uint32_t>(1, characters(text_.substr(begin, end - begin)));
  return false;
}

bool Parser::fail_here(std::string_view expected) {
  std::string message;
  if (token_.kind == TokenKind::kUnterminatedString) {
    message = "text in quotes never ends; inside it only \\\" \\' \\\\ and \\uXXXX may follow a backslash";
  } else if (token_.kind == TokenKind::kBadNumber) {
    message = "hexadecimal number of more than 64 bits";
  } else if (token_.kind == TokenKind::kEnd) {
    message = "expected " + std::string(expected) + ", but the query ends here";
  } else {
    const std::string_view found = text_of(token_);
    message = "expected " + std::string(expected) + ", but found '" + std::string(found.substr(0, 40)) +
              (found.size() > 40 ? "...'" : "'");
  }
  return fail(token_.begin, token_.end, std::move(message));
}

bool Parser::accept_size() {
  if (text_.size() <= kMaxQueryBytes) return true;
  return fail(
      0, 0,
      "query of " + std::to_string(text_.size()) + " bytes; the limit is " + std::to_string(kMaxQueryBytes));
}

void Parser::advance(LexMode mode) {
  last_end_ = token_.end;
  token_ = lexer_.next(mode);
}

bool Parser::take(TokenKind kind) {
  if (token_.kind != kind) return false;
  advance();
  return true;
}

bool Parser::parse_condition(std::string_view source, Condition& into) {
  if (!accept_size()) return false;
  out_ = &into;
  while (source.ends_with('*') || (source.size() > 1 && source.ends_with('/'))) source.remove_suffix(1);
  twin_changes_ = equal_ignoring_case(source, "/twinChangeNotifications");
  advance();
  if (token_.kind == TokenKind::kEnd) {
    if (!push_literal(Op::kUndefined, Type::kUndefined)) return false;
    return finish_condition(0, static_cast<std::uint32_t>(text_.size()));
  }
  const std::uint32_t begin = token_.begin;
  if (!parse_expression(0)) return false;
  if (token_.kind != TokenKind::kEnd) return fail_here("an operator or the end of the condition");
  return finish_condition(begin, last_end_);
}

bool Parser::finish_condition(std::uint32_t begin, std::uint32_t end) {
  // Positions so far count from the beginning of the text; a condition keeps its own piece of it.
  out_->query = std::string(text_.substr(begin, end - begin));
  out_->origin = begin;
  std::uint32_t depth = 0;
  for (Part& part : out_->parts) {
    part.begin -= begin;
    part.end -= begin;
    depth = depth + 1 - part.arity;
    out_->stack = std::max(out_->stack, depth);
    out_->reads_body =
        out_->reads_body || part.op == Op::kBody || part.op == Op::kBodyOnly || part.op == Op::kTwinChange;
  }
  return true;
}

bool Parser::parse_expression(int tightness) {
  if (!parse_prefix()) return false;
  for (Binary next = binary_of(token_.kind); next.tightness > tightness; next = binary_of(token_.kind)) {
    const auto left = static_cast<std::uint32_t>(out_->parts.size() - 1);
    const Token op = token_;
    advance();
    if (!parse_expression(next.tightness) || !push_binary(next.op, op, left)) return false;
  }
  return true;
}

bool Parser::parse_prefix() {
  if (token_.kind != TokenKind::kMinus && token_.kind != TokenKind::kNot) return parse_primary();
  if (nesting_ >= kMaxNestingLevels) return fail(token_.begin, token_.end, "more than 100 levels of nesting");
  const Token op = token_;
  advance();
  ++nesting_;
  if (!parse_expression(kPrefixTightness)) return false;
  --nesting_;
  return push_prefix(op.kind == TokenKind::kMinus ? Op::kNegate : Op::kNot, op);
}

bool Parser::parse_primary() {
  const Token token = token_;
  switch (token.kind) {
    case TokenKind::kOpenBracket:
      return parse_brackets();
    case TokenKind::kOpenBrace:
      return parse_braces();
    case TokenKind::kString:
      return parse_string();
    case TokenKind::kNumber:
      return push_literal(Op::kNumber, Type::kNumber, token.number);
    case TokenKind::kTrue:
      return push_literal(Op::kTruth, Type::kTruth, 1);
    case TokenKind::kFalse:
      return push_literal(Op::kTruth, Type::kTruth, 0);
    case TokenKind::kNull:
      return push_literal(Op::kNull, Type::kNull);
    case TokenKind::kUndefined:
      return push_literal(Op::kUndefined, Type::kUndefined);
    case TokenKind::kSystemName:
      advance();
      return parse_system_name(token, false, token.begin, token.end);
    case TokenKind::kName:
      advance();
      return parse_call(token);
    case TokenKind::kPath:
      return fail(token.begin, token.end, "square brackets belong to a body path, as in $body.list[0]");
    default:
      return fail_here(kValueExpected);
  }
}

bool Parser::parse_brackets() {
  if (nesting_ >= kMaxNestingLevels) return fail(token_.begin, token_.end, "more than 100 levels of nesting");
  const Token open = token_;
  advance();
  ++nesting_;
  if (!parse_expression(0)) return false;
  --nesting_;
  if (token_.kind == TokenKind::kEnd || token_.kind == TokenKind::kInto) {
    return fail(open.begin, open.end, "'(' is never closed");
  }
  if (!take(TokenKind::kCloseBracket)) return fail_here("an operator or ')'");
  return true;
}

bool Parser::parse_braces() {
  const std::uint32_t begin = token_.begin;
  advance();
  const Token name = token_;
  if (name.kind != TokenKind::kSystemName) return fail_here("a name that begins with $ between { and }");
  advance();
  const std::uint32_t end = token_.end;
  if (!take(TokenKind::kCloseBrace)) return fail_here("'}'");
  return parse_system_name(name, true, begin, end);
}

bool Parser::parse_string() {
  const Token token = token_;
  const std::string value = unescape(text_.substr(token.begin + 1, token.end - token.begin - 2));
  advance();
  return push_text(Op::kText, value, token.begin, token.end);
}

bool Parser::parse_call(const Token& name) {
  if (token_.kind != TokenKind::kOpenBracket) {
    return push_text(Op::kProperty, text_of(name), name.begin, name.end);
  }
  const std::optional<Function> function = function_named(text_of(name));
  if (!function)
    return fail(name.begin, name.end,
                "there is no function '" + std::string(text_of(name).substr(0, 64)) + "'");
  if (*function == Function::kTwinChangeIncludes) return parse_twin_change(name);
  if (nesting_ >= kMaxNestingLevels) return fail(token_.begin, token_.end, "more than 100 levels of nesting");
  advance();
  ++nesting_;
  Part call;
  call.op = Op::kCall;
  call.function = *function;
  call.begin = name.begin;
  call.first = static_cast<std::uint32_t>(out_->parts.size());
  std::vector<Type> types;
  if (token_.kind != TokenKind::kCloseBracket) {
    do {
      if (types.size() == kMaxArguments) return fail(token_.begin, token_.end, "more than 64 arguments");
      if (!parse_expression(0)) return false;
      types.push_back(out_->parts.back().type);
    } while (take(TokenKind::kComma));
  }
  --nesting_;
  call.end = token_.end;
  if (!take(TokenKind::kCloseBracket)) return fail_here("',' or ')' after an argument");
  Typed typed = type_of_call(*function, types);
  if (!typed.problem.empty()) return fail(name.begin, call.end, std::move(typed.problem));
  call.type = typed.type;
  call.mixed = typed.mixed;
  call.arity = static_cast<std::uint8_t>(types.size());
  // is_bool() answers differently for a truth value that comes out undefined.
  call.operand = !types.empty() && types.front() == Type::kTruth ? 1 : 0;
  return push(call);
}

bool Parser::push(Part part) {
  if (out_->parts.size() == kMaxNodes)
    return fail(part.begin, part.end, "condition of more than 16384 parts");
  out_->parts.push_back(part);
  return true;
}

bool Parser::push_literal(Op op, Type type, double number) {
  Part part;
  part.op = op;
  part.type = type;
  part.number = number;
  part.begin = token_.begin;
  part.end = token_.end;
  part.first = static_cast<std::uint32_t>(out_->parts.size());
  if (token_.kind != TokenKind::kEnd) advance();
  return push(part);
}

bool Parser::push_text(Op op, std::string_view text, std::uint32_t begin, std::uint32_t end) {
  Part part;
  part.op = op;
  part.type = Type::kText;
  part.operand = static_cast<std::uint32_t>(out_->texts.size());
  part.begin = begin;
  part.end = end;
  part.first = static_cast<std::uint32_t>(out_->parts.size());
  out_->texts.emplace_back(text);
  return push(part);
}

bool Parser::push_path(Op op, BodyPath path, std::uint32_t begin, std::uint32_t end) {
  Part part;
  part.op = op;
  part.type = op == Op::kTwinChange ? Type::kTruth : Type::kBody;
  part.operand = static_cast<std::uint32_t>(out_->paths.size());
  part.begin = begin;
  part.end = end;
  part.first = static_cast<std::uint32_t>(out_->parts.size());
  out_->paths.push_back(std::move(path));
  return push(part);
}

bool Parser::push_prefix(Op op, const Token& token) {
  const Part& operand = out_->parts.back();
  Typed typed = type_of_prefix(op, operand.type);
  if (!typed.problem.empty()) return fail(token.begin, token.end, std::move(typed.problem));
  Part part;
  part.op = op;
  part.type = typed.type;
  part.mixed = typed.mixed;
  part.arity = 1;
  part.begin = token.begin;
  part.end = last_end_;
  part.first = operand.first;
  return push(part);
}

bool Parser::push_binary(Op op, const Token& token, std::uint32_t left) {
  const Type left_type = out_->parts[left].type;
  const Type right_type = out_->parts.back().type;
  Typed typed = type_of_binary(op, left_type, right_type);
  if (!typed.problem.empty()) return fail(token.begin, token.end, std::move(typed.problem));
  Part part;
  part.op = op;
  part.type = typed.type;
  part.mixed = typed.mixed;
  part.arity = 2;
  part.begin = out_->parts[left].begin;
  part.end = last_end_;
  part.first = out_->parts[left].first;
  out_->parts[left].exit = exit_of(op, left_type, right_type);
  out_->parts[left].exit_to = static_cast<std::uint32_t>(out_->parts.size());
  return push(part);
}

}  // namespace decklog::routing
