// The static type rules: what each operator and function takes and gives. Pure; no state.
// A body value may stand where a truth value, number, text or null may. Null and undefined are kinds of their
// own.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "services/routing/condition.hpp"

namespace decklog::routing {

// What an operation gives, or why its operands do not fit.
struct Typed final {
  Type type = Type::kUndefined;
  bool mixed = false;
  std::string problem;  // empty when all is well
};

Typed type_of_prefix(Op op, Type operand);
Typed type_of_binary(Op op, Type left, Type right);
Typed type_of_call(Function function, std::span<const Type> arguments);

// How the operator is written.
std::string_view spelling(Op op);
std::string_view spelling(Function function);
std::optional<Function> function_named(std::string_view name);

}  // namespace decklog::routing
