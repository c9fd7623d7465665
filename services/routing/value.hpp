// What a part of a condition gives for one message. Text points into the message, the condition or the
// evaluation that made it. A number that is not a number is undefined; infinities are numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace decklog::routing {

// The answer of a condition. Only kTrue routes a message.
enum class Truth : std::uint8_t { kFalse, kTrue, kUndefined };

// The order is the order of unlike kinds when a body value is compared.
enum class Kind : std::uint8_t { kUndefined, kTruth, kNumber, kText, kNull };

struct Value final {
  Kind kind = Kind::kUndefined;
  bool truth = false;
  double number = 0;
  std::string_view text;

  static Value undefined() { return {}; }
  static Value null() { return {Kind::kNull, false, 0, {}}; }
  static Value of(bool truth) { return {Kind::kTruth, truth, 0, {}}; }
  static Value of(double number) {
    return std::isnan(number) ? Value{} : Value{Kind::kNumber, false, number, {}};
  }
  static Value of(std::string_view text) { return {Kind::kText, false, 0, text}; }

  bool defined() const { return kind != Kind::kUndefined; }
};

}  // namespace decklog::routing
