// The functions of the query language. Anything undefined, or of another kind than the function takes, makes
// the result undefined; only the is_ functions look at it.
#include <cmath>
#include <cstring>

#include "services/routing/evaluation.hpp"
#include "services/routing/limits.hpp"
#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

double sign_of(double number) {
  return number > 0 ? 1 : number < 0 ? -1 : 0;
}

// memmem searches in linear time whatever the texts are.
std::size_t find_text(std::string_view text, std::string_view wanted) {
  if (wanted.empty()) return 0;
  if (text.empty()) return std::string_view::npos;
  const void* found = ::memmem(text.data(), text.size(), wanted.data(), wanted.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

// A truth value that comes out undefined is not yet known to be one, so the answer is undefined as well.
Value is_truth_value(const Value& value, const Part& part, bool truth_typed) {
  if (value.defined()) return Value::of(value.kind == Kind::kTruth);
  return part.mixed || truth_typed ? Value::undefined() : Value::of(false);
}

bool all_of_kind(const Value* values, std::size_t count, Kind kind) {
  for (std::size_t i = 0; i < count; ++i) {
    if (values[i].kind != kind) return false;
  }
  return true;
}

}  // namespace

Value Evaluation::call(const Part& part, const Value* arguments) {
  const Value& first = arguments[0];
  switch (part.function) {
    case Function::kAsNumber:
      return as_number(first);
    case Function::kIsBool:
      return is_truth_value(first, part, part.operand != 0);
    case Function::kIsDefined:
      return Value::of(first.defined());
    case Function::kIsNull:
      if (part.mixed && !first.defined()) return Value::undefined();
      return Value::of(first.kind == Kind::kNull);
    case Function::kIsNumber:
      return Value::of(first.kind == Kind::kNumber && !std::isinf(first.number));
    case Function::kIsString:
      return Value::of(first.kind == Kind::kText);
    case Function::kConcat:
      return concatenated(arguments, part.arity);
    case Function::kSubstring:
      return substring(part, arguments);
    case Function::kLength:
    case Function::kLower:
    case Function::kUpper:
    case Function::kIndexOf:
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
      return text_call(part, arguments);
    default:
      return numeric_call(part, arguments);
  }
}

Value Evaluation::numeric_call(const Part& part, const Value* arguments) {
  if (!all_of_kind(arguments, part.arity, Kind::kNumber)) return Value::undefined();
  const double x = arguments[0].number;
  switch (part.function) {
    case Function::kAbs:
      return Value::of(std::abs(x));
    case Function::kExp:
      return Value::of(std::exp(x));
    case Function::kPower:
      return Value::of(std::pow(x, arguments[1].number));
    case Function::kSquare:
      return Value::of(x * x);
    case Function::kCeiling:
      return Value::of(std::ceil(x));
    case Function::kFloor:
      return Value::of(std::floor(x));
    case Function::kSign:
      return Value::of(sign_of(x));
    case Function::kSqrt:
      return Value::of(std::sqrt(x));
    default:
      return Value::undefined();
  }
}

Value Evaluation::text_call(const Part& part, const Value* arguments) {
  if (!all_of_kind(arguments, part.arity, Kind::kText)) return Value::undefined();
  const std::string_view text = arguments[0].text;
  const std::string_view other = part.arity > 1 ? arguments[1].text : std::string_view{};
  if (!spend(text.size() + other.size())) return Value::undefined();
  switch (part.function) {
    case Function::kLength:
      return Value::of(static_cast<double>(length_utf16(text)));
    case Function::kLower:
      return kept(lower_text(text));
    case Function::kUpper:
      return kept(upper_text(text));
    case Function::kStartsWith:
      return Value::of(text.starts_with(other));
    case Function::kEndsWith:
      return Value::of(text.ends_with(other));
    case Function::kContains:
      return Value::of(find_text(text, other) != std::string_view::npos);
    default:
      break;
  }
  const std::size_t at = find_text(text, other);
  if (at == std::string_view::npos) return Value::of(-1.0);
  return Value::of(static_cast<double>(length_utf16(text.substr(0, at))));
}

// substring(text, start) allows start = length; substring(text, start, length) does not.
Value Evaluation::substring(const Part& part, const Value* arguments) {
  if (arguments[0].kind != Kind::kText || !all_of_kind(arguments + 1, part.arity - 1u, Kind::kNumber)) {
    return Value::undefined();
  }
  const std::string_view text = arguments[0].text;
  if (!spend(2 * text.size())) return Value::undefined();
  const auto units = static_cast<double>(length_utf16(text));
  const double start = arguments[1].number;
  if (start < 0 || start > units) return Value::undefined();
  double count = units - std::floor(start);
  if (part.arity == 3) {
    count = arguments[2].number;
    if (start >= units || count < 0 || count > units - start) return Value::undefined();
  }
  return kept(slice_utf16(text, static_cast<std::size_t>(start), static_cast<std::size_t>(count)));
}

Value Evaluation::concatenated(const Value* pieces, std::size_t count) {
  if (!all_of_kind(pieces, count, Kind::kText)) return Value::undefined();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) bytes += pieces[i].text.size();
  if (!spend(bytes)) return Value::undefined();
  std::string text;
  text.reserve(bytes);
  for (std::size_t i = 0; i < count; ++i) append_text(text, pieces[i].text);
  return kept(std::move(text));
}

Value Evaluation::as_number(const Value& value) {
  if (value.kind == Kind::kNumber) return value;
  if (value.kind != Kind::kText || !spend(value.text.size())) return Value::undefined();
  const std::optional<double> number = read_number_text(value.text);
  return number ? Value::of(*number) : Value::undefined();
}

Value Evaluation::kept(std::string text) {
  made_.push_back(std::make_unique<std::string>(std::move(text)));
  return Value::of(std::string_view(*made_.back()));
}

}  // namespace decklog::routing
