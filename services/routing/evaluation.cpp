#include "services/routing/evaluation.hpp"

#include <algorithm>

#include "services/routing/body.hpp"
#include "services/routing/limits.hpp"
#include "services/routing/operators.hpp"
#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

const PropertyView* find_property(std::span<const PropertyView> properties, std::string_view name) {
  for (const PropertyView& each : properties) {
    if (equal_ignoring_case(each.name, name)) return &each;
  }
  return nullptr;
}

Value text_or_undefined(const PropertyView* property) {
  return property ? Value::of(property->value) : Value::undefined();
}

bool leaves(Exit exit, const Value& value) {
  switch (exit) {
    case Exit::kNever:
      return false;
    case Exit::kIfFalse:
      return value.kind == Kind::kTruth && !value.truth;
    case Exit::kIfTrue:
      return value.kind == Kind::kTruth && value.truth;
    case Exit::kIfDefined:
      return value.defined();
  }
  return false;
}

}  // namespace

Evaluation::Evaluation(const MessageView& message) : message_(message) {}
Evaluation::~Evaluation() = default;

Truth truth_of(const Value& value, Type type) {
  if (value.kind == Kind::kTruth) return value.truth ? Truth::kTrue : Truth::kFalse;
  return type == Type::kNull && value.kind == Kind::kNull ? Truth::kFalse : Truth::kUndefined;
}

Truth Evaluation::run(const Condition& condition) {
  work_bytes_ = 0;
  made_.clear();
  stack_.clear();
  const std::size_t count = condition.parts.size();
  for (std::size_t i = 0; i < count; ++i) {
    const Part& part = condition.parts[i];
    const std::size_t first = stack_.size() - part.arity;
    const Value value = compute(condition, part, stack_.data() + first);
    stack_.resize(first);
    stack_.push_back(value);
    // A decided operator may itself decide the one around it.
    for (std::size_t at = i; leaves(condition.parts[at].exit, value); at = i) i = condition.parts[at].exit_to;
  }
  return truth_of(stack_.back(), condition.parts.back().type);
}

Truth Evaluation::trace(const Condition& condition, std::vector<Value>& values) {
  work_bytes_ = 0;
  made_.clear();
  stack_.clear();
  values.clear();
  for (const Part& part : condition.parts) {
    const std::size_t first = stack_.size() - part.arity;
    const Value value = compute(condition, part, stack_.data() + first);
    stack_.resize(first);
    stack_.push_back(value);
    values.push_back(value);
  }
  return truth_of(stack_.back(), condition.parts.back().type);
}

std::string Evaluation::body_problem() {
  return body().problem();
}

Value Evaluation::compute(const Condition& condition, const Part& part, const Value* operands) {
  switch (part.op) {
    case Op::kNegate:
      return operands[0].kind == Kind::kNumber ? Value::of(-operands[0].number) : Value::undefined();
    case Op::kNot:
      return negation(operands[0], part.mixed);
    case Op::kMultiply:
    case Op::kDivide:
    case Op::kRemainder:
    case Op::kAdd:
    case Op::kSubtract:
      return arithmetic(part.op, operands[0], operands[1]);
    case Op::kConcat:
      return concatenated(operands, 2);
    case Op::kLess:
    case Op::kLessEqual:
    case Op::kGreater:
    case Op::kGreaterEqual:
    case Op::kEqual:
    case Op::kNotEqual:
      if (operands[0].kind == Kind::kText && !spend(operands[0].text.size())) return Value::undefined();
      return comparison(part.op, operands[0], operands[1]);
    case Op::kAnd:
    case Op::kOr:
      return logic(part, operands[0], operands[1]);
    case Op::kCoalesce:
      return operands[0].defined() ? operands[0] : operands[1];
    case Op::kCall:
      return call(part, operands);
    default:
      return leaf(condition, part);
  }
}

Value Evaluation::leaf(const Condition& condition, const Part& part) {
  switch (part.op) {
    case Op::kTruth:
      return Value::of(part.number != 0);
    case Op::kNumber:
      return Value::of(part.number);
    case Op::kText:
      return Value::of(std::string_view(condition.texts[part.operand]));
    case Op::kNull:
      return Value::null();
    case Op::kProperty:
      return application(condition.texts[part.operand]);
    case Op::kSystem: {
      const std::string_view name = condition.texts[part.operand];
      const Value own = application(name);
      return own.defined() ? own : system(name.substr(1));
    }
    case Op::kSystemOnly:
      return system(std::string_view(condition.texts[part.operand]).substr(1));
    case Op::kBody: {
      const Value own = application(condition.paths[part.operand].name);
      return own.defined() ? own : at_path(condition.paths[part.operand]);
    }
    case Op::kBodyOnly:
      return at_path(condition.paths[part.operand]);
    case Op::kTwinChange:
      return twin_change(condition.paths[part.operand]);
    default:
      return Value::undefined();
  }
}

Value Evaluation::application(std::string_view name) const {
  return text_or_undefined(find_property(message_.application, name));
}

Value Evaluation::system(std::string_view name) const {
  return text_or_undefined(find_property(message_.system, name));
}

const Body& Evaluation::body() {
  if (!body_) {
    body_ = std::make_unique<Body>(message_.body, system("contentType").text, system("contentEncoding").text);
  }
  return *body_;
}

// A path that leads nowhere is null; an object or a list at its end is undefined.
Value Evaluation::at_path(const BodyPath& path) {
  if (!body().readable()) return Value::undefined();
  const boost::json::value* found = body().find(path.steps);
  if (found == nullptr || found->is_null()) return Value::null();
  if (found->is_bool()) return Value::of(found->get_bool());
  if (found->is_string())
    return Value::of(std::string_view(found->get_string().data(), found->get_string().size()));
  if (found->is_double()) return Value::of(found->get_double());
  if (found->is_int64()) return Value::of(static_cast<double>(found->get_int64()));
  if (found->is_uint64()) return Value::of(static_cast<double>(found->get_uint64()));
  return Value::undefined();
}

// A property set to null is a change as well: it was removed.
Value Evaluation::twin_change(const BodyPath& path) {
  if (!body().readable()) return Value::undefined();
  return Value::of(body().find(path.steps) != nullptr);
}

bool Evaluation::spend(std::size_t bytes) {
  work_bytes_ += bytes;
  return work_bytes_ <= kMaxTextWorkBytes;
}

}  // namespace decklog::routing
