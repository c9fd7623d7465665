#include "services/routing/explain.hpp"

#include <algorithm>
#include <ostream>

#include "services/routing/text.hpp"
#include "services/routing/types.hpp"

namespace decklog::routing {
namespace {

constexpr std::size_t kShownCharacters = 80;

std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; },
      ' ');
  return line;
}

std::string shortened(std::string_view text) {
  const std::string line = one_line(text);
  const UnitPosition cut = position_utf16(line, kShownCharacters);
  return cut.byte >= line.size() ? line : line.substr(0, cut.byte) + "...";
}

std::string_view part_text(const Condition& condition, const Part& part) {
  return std::string_view(condition.query).substr(part.begin, part.end - part.begin);
}

// Indexes of the operands of a part, first to last.
std::vector<std::size_t> operands_of(const Condition& condition, std::size_t index) {
  std::vector<std::size_t> operands;
  std::size_t at = index;
  for (std::size_t i = 0; i < condition.parts[index].arity; ++i) {
    operands.push_back(at - 1);
    at = condition.parts[at - 1].first;
  }
  std::reverse(operands.begin(), operands.end());
  return operands;
}

std::string missing_property(std::string_view name, std::string_view what) {
  std::string reason = "the message has no " + std::string(what) + " '" + shortened(name) + "'";
  if (name.substr(1).find_first_of("+*%|!'") != std::string_view::npos) {
    reason += "; a name may hold operators, so put blanks around an operator";
  }
  return reason;
}

std::string leaf_reason(const Condition& condition, const Part& part, const Value& value,
                        Evaluation& evaluation) {
  switch (part.op) {
    case Op::kProperty:
      return value.defined() ? "" : missing_property(condition.texts[part.operand], "application property");
    case Op::kSystem:
      return value.defined() ? ""
                             : missing_property(condition.texts[part.operand], "property or system property");
    case Op::kSystemOnly:
      return value.defined() ? "" : missing_property(condition.texts[part.operand], "system property");
    case Op::kBody:
    case Op::kBodyOnly:
    case Op::kTwinChange:
      if (value.kind == Kind::kNull) return "nothing, or null, at this path of the body";
      if (value.defined()) return "";
      if (const std::string problem = evaluation.body_problem(); !problem.empty()) return problem;
      return "an object or a list; only a single value can be compared";
    default:
      return "";
  }
}

std::string operator_reason(const Condition& condition, std::size_t index, const std::vector<Value>& values) {
  const Part& part = condition.parts[index];
  if (part.arity == 0) return "";
  const std::vector<std::size_t> operands = operands_of(condition, index);
  const auto undefined =
      std::find_if(operands.begin(), operands.end(), [&](std::size_t i) { return !values[i].defined(); });
  if (!values[index].defined()) {
    if (undefined != operands.end())
      return shortened(part_text(condition, condition.parts[*undefined])) + " is undefined";
    if (part.op == Op::kAnd || part.op == Op::kOr || part.op == Op::kNot)
      return "not a truth value on both sides";
    if (part.op == Op::kRemainder || part.op == Op::kDivide) return "not a number";
    return "the values do not suit " +
           std::string(part.op == Op::kCall ? spelling(part.function) : spelling(part.op));
  }
  if (part.op >= Op::kLess && part.op <= Op::kNotEqual &&
      values[operands[0]].kind != values[operands[1]].kind) {
    return "unlike kinds: a body value is never equal to another kind and orders as truth value, number, "
           "text, null";
  }
  return "";
}

// Operands whose value alone settles an operator with this result.
std::size_t settled_by(const Condition& condition, std::size_t index, const std::vector<Value>& values) {
  const Part& part = condition.parts[index];
  const std::vector<std::size_t> operands = operands_of(condition, index);
  const auto first = [&](auto matches) {
    const auto found = std::find_if(operands.begin(), operands.end(), matches);
    return found == operands.end() ? index : *found;
  };
  const auto truth_is = [&](bool wanted) {
    return [&values, wanted](std::size_t i) {
      return values[i].kind == Kind::kTruth && values[i].truth == wanted;
    };
  };
  if (!values[index].defined()) return first([&](std::size_t i) { return !values[i].defined(); });
  if (part.op == Op::kNot) return operands[0];
  if (part.op == Op::kAnd && values[index].kind == Kind::kTruth && !values[index].truth)
    return first(truth_is(false));
  if (part.op == Op::kOr && values[index].kind == Kind::kTruth && values[index].truth)
    return first(truth_is(true));
  return index;
}

}  // namespace

std::uint32_t column_of(std::string_view query, std::size_t byte) {
  const std::string_view before = query.substr(0, byte);
  return 1 + static_cast<std::uint32_t>(std::count_if(before.begin(), before.end(), [](char c) {
           return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
         }));
}

void print_marked(std::string_view query, std::uint32_t column, std::uint32_t length, std::ostream& out) {
  out << "  " << one_line(query) << "\n  " << std::string(column - 1, ' ')
      << std::string(std::max(1u, length), '^') << "\n";
}

std::string describe(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kTruth:
      return value.truth ? "true" : "false";
    case Kind::kNumber:
      return "number " + write_number(value.number);
    case Kind::kText:
      return "text " + quote(shortened(value.text));
    case Kind::kNull:
      return "null";
  }
  return "undefined";
}

void explain_parts(const Condition& condition, const std::vector<Value>& values, Evaluation& evaluation,
                   std::string_view whole_query, std::ostream& out) {
  for (std::size_t i = 0; i < condition.parts.size(); ++i) {
    const Part& part = condition.parts[i];
    std::string reason = leaf_reason(condition, part, values[i], evaluation);
    if (reason.empty()) reason = operator_reason(condition, i, values);
    out << "  column " << column_of(whole_query, condition.origin + part.begin) << ": "
        << shortened(part_text(condition, part)) << " is " << describe(values[i]);
    if (!reason.empty()) out << " (" << reason << ")";
    out << "\n";
  }
}

std::size_t deciding_part(const Condition& condition, const std::vector<Value>& values) {
  std::size_t at = condition.parts.size() - 1;
  for (std::size_t next = settled_by(condition, at, values); next != at;
       next = settled_by(condition, at, values)) {
    at = next;
  }
  return at;
}

}  // namespace decklog::routing
