#include "services/routing/operators.hpp"

#include <cmath>

#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

template <class T>
int order(const T& left, const T& right) {
  return left < right ? -1 : right < left ? 1 : 0;
}

int order_of(const Value& left, const Value& right) {
  if (left.kind != right.kind) return order(left.kind, right.kind);
  switch (left.kind) {
    case Kind::kTruth:
      return order(left.truth, right.truth);
    case Kind::kNumber:
      return order(left.number, right.number);
    case Kind::kText:
      return compare_utf16(left.text, right.text);
    default:
      return 0;
  }
}

Value conjunction(const Value& left, const Value& right) {
  const bool left_false = left.kind == Kind::kTruth && !left.truth;
  const bool right_false = right.kind == Kind::kTruth && !right.truth;
  if (left_false || right_false) return Value::of(false);
  if (left.kind == Kind::kTruth && right.kind == Kind::kTruth) return Value::of(true);
  return Value::undefined();
}

Value disjunction(const Value& left, const Value& right) {
  const bool left_true = left.kind == Kind::kTruth && left.truth;
  const bool right_true = right.kind == Kind::kTruth && right.truth;
  if (left_true || right_true) return Value::of(true);
  if (left.kind == Kind::kTruth && right.kind == Kind::kTruth) return Value::of(false);
  return Value::undefined();
}

}  // namespace

Value arithmetic(Op op, const Value& left, const Value& right) {
  if (left.kind != Kind::kNumber || right.kind != Kind::kNumber) return Value::undefined();
  switch (op) {
    case Op::kMultiply:
      return Value::of(left.number * right.number);
    case Op::kDivide:
      return Value::of(left.number / right.number);
    case Op::kRemainder:
      return Value::of(std::fmod(left.number, right.number));
    case Op::kAdd:
      return Value::of(left.number + right.number);
    default:
      return Value::of(left.number - right.number);
  }
}

Value comparison(Op op, const Value& left, const Value& right) {
  if (!left.defined() || !right.defined()) return Value::undefined();
  const int ordered = order_of(left, right);
  switch (op) {
    case Op::kLess:
      return Value::of(ordered < 0);
    case Op::kLessEqual:
      return Value::of(ordered <= 0);
    case Op::kGreater:
      return Value::of(ordered > 0);
    case Op::kGreaterEqual:
      return Value::of(ordered >= 0);
    case Op::kEqual:
      return Value::of(ordered == 0);
    default:
      return Value::of(ordered != 0);
  }
}

// "not null" written out is true; a body value that happens to be null is no truth value.
Value negation(const Value& operand, bool mixed) {
  if (operand.kind == Kind::kTruth) return Value::of(!operand.truth);
  return operand.kind == Kind::kNull && !mixed ? Value::of(true) : Value::undefined();
}

Value logic(const Part& part, const Value& left, const Value& right) {
  if (part.mixed) {
    if (left.kind != Kind::kTruth || right.kind != Kind::kTruth) return Value::undefined();
    return part.op == Op::kAnd ? conjunction(left, right) : disjunction(left, right);
  }
  // null and x is null; null or x is x.
  if (part.op == Op::kAnd) {
    if (left.kind == Kind::kNull || right.kind == Kind::kNull) return Value::null();
    return conjunction(left, right);
  }
  if (left.kind == Kind::kNull) return right;
  if (right.kind == Kind::kNull) return left;
  return disjunction(left, right);
}

}  // namespace decklog::routing
