#include "services/routing/condition.hpp"

#include <utility>

#include "services/routing/parser.hpp"
#include "services/routing/text.hpp"
#include "services/routing/types.hpp"

namespace decklog::routing {
namespace {

bool same_part(const Part& left, const Part& right) {
  return left.op == right.op && left.type == right.type && left.function == right.function &&
         left.exit == right.exit && left.mixed == right.mixed && left.arity == right.arity &&
         left.first == right.first && left.exit_to == right.exit_to && left.operand == right.operand &&
         left.number == right.number;
}

bool same_path(const BodyPath& left, const BodyPath& right) {
  if (left.name != right.name || left.steps.size() != right.steps.size()) return false;
  for (std::size_t i = 0; i < left.steps.size(); ++i) {
    if (left.steps[i].key != right.steps[i].key || left.steps[i].index != right.steps[i].index) return false;
  }
  return true;
}

std::string print_leaf(const Condition& condition, const Part& part) {
  switch (part.op) {
    case Op::kTruth:
      return part.number != 0 ? "true" : "false";
    case Op::kNumber:
      return write_number(part.number);
    case Op::kText:
      return quote(condition.texts[part.operand]);
    case Op::kNull:
      return "null";
    case Op::kProperty:
    case Op::kSystem:
      return condition.texts[part.operand];
    case Op::kSystemOnly:
      return "{" + condition.texts[part.operand] + "}";
    case Op::kBody:
      return condition.paths[part.operand].name;
    case Op::kBodyOnly:
      return "{" + condition.paths[part.operand].name + "}";
    case Op::kTwinChange:
      return "twin_change_includes(" + condition.paths[part.operand].name + ")";
    default:
      return "undefined";
  }
}

}  // namespace

Error to_error(const Diagnostic& diagnostic, std::string_view route_name) {
  const std::string column = "column " + std::to_string(diagnostic.column);
  return error(Errc::kMalformed, diagnostic.message,
               route_name.empty() ? column : "route " + std::string(route_name) + ", " + column);
}

std::optional<Condition> compile_condition(std::string_view query, std::string_view source,
                                           Diagnostic& diagnostic) {
  Condition condition;
  Parser parser(query, diagnostic);
  if (!parser.parse_condition(source, condition)) return std::nullopt;
  return condition;
}

Result<Condition> compile_condition(std::string_view query, std::string_view source) {
  Diagnostic diagnostic;
  std::optional<Condition> condition = compile_condition(query, source, diagnostic);
  if (!condition) return to_error(diagnostic);
  return std::move(*condition);
}

std::string print(const Condition& condition) {
  std::vector<std::string> stack;
  for (const Part& part : condition.parts) {
    std::string text;
    if (part.arity == 0 && part.op != Op::kCall) {
      text = print_leaf(condition, part);
    } else if (part.op == Op::kCall) {
      text = std::string(spelling(part.function)) + "(";
      const std::size_t first = stack.size() - part.arity;
      for (std::size_t i = first; i < stack.size(); ++i) text += (i == first ? "" : ", ") + stack[i];
      text += ")";
      stack.resize(first);
    } else if (part.arity == 1) {
      text = "(" + std::string(spelling(part.op)) + " " + stack.back() + ")";
      stack.pop_back();
    } else {
      text = "(" + stack[stack.size() - 2] + " " + std::string(spelling(part.op)) + " " + stack.back() + ")";
      stack.resize(stack.size() - 2);
    }
    stack.push_back(std::move(text));
  }
  return stack.empty() ? std::string() : stack.back();
}

bool same_parts(const Condition& left, const Condition& right) {
  if (left.parts.size() != right.parts.size() || left.texts != right.texts ||
      left.paths.size() != right.paths.size()) {
    return false;
  }
  for (std::size_t i = 0; i < left.parts.size(); ++i) {
    if (!same_part(left.parts[i], right.parts[i])) return false;
  }
  for (std::size_t i = 0; i < left.paths.size(); ++i) {
    if (!same_path(left.paths[i], right.paths[i])) return false;
  }
  return true;
}

}  // namespace decklog::routing
