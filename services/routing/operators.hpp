// The three-valued operators. Pure; values in, value out.
#pragma once

#include "services/routing/condition.hpp"
#include "services/routing/value.hpp"

namespace decklog::routing {

// Two numbers, or undefined.
Value arithmetic(Op op, const Value& left, const Value& right);
// Undefined with undefined. Unlike kinds (only a body value brings them) order as truth, number, text, null.
Value comparison(Op op, const Value& left, const Value& right);
Value negation(const Value& operand, bool mixed);
Value logic(const Part& part, const Value& left, const Value& right);

}  // namespace decklog::routing
