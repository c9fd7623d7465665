// A fact of every type with every field filled, made from a stream of numbers: the same numbers, the same
// facts, on every machine. New fields get values without anybody thinking of it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "events/event.hpp"
#include "events/field_visit.hpp"

namespace decklog::fixture {

// splitmix64: small, and fixed for ever by the golden files.
class Numbers final {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

// Now and then empty, with zeros and bytes that are no UTF-8 when `wild`.
enum class TextKind { kPlain, kWild };
inline std::string make_text(Numbers& numbers, TextKind kind) {
  const std::uint64_t length = kind == TextKind::kPlain ? 3 + numbers() % 12 : numbers() % 40;
  std::string text;
  for (std::uint64_t i = 0; i < length; ++i) {
    const std::uint64_t number = numbers();
    text += kind == TextKind::kPlain ? static_cast<char>('a' + number % 26) : static_cast<char>(number % 256);
  }
  return text;
}

template <class Table>
void fill_table(Table& table, Numbers& numbers, TextKind kind);

template <class T>
void fill(T& value, Numbers& numbers, TextKind kind) {
  if constexpr (std::is_same_v<T, bool>) {
    value = kind == TextKind::kPlain || numbers() % 2 == 1;
  } else if constexpr (detail::kIsEnum<T>) {
    // Numbers this build does not know have to come through as well.
    value = static_cast<T>(1 + numbers() % (kind == TextKind::kPlain ? 4 : 255));
  } else if constexpr (detail::kIsNumber<T>) {
    value = static_cast<T>(numbers());
    if (kind == TextKind::kPlain && value == 0) value = 1;
  } else if constexpr (detail::kIsText<T>) {
    value = make_text(numbers, kind);
  } else if constexpr (detail::kIsTextId<T>) {
    value.value = make_text(numbers, kind);
  } else if constexpr (detail::kIsTextList<T>) {
    const std::uint64_t length = kind == TextKind::kPlain ? 2 : numbers() % 4;
    value.clear();
    for (std::uint64_t i = 0; i < length; ++i) value.push_back(make_text(numbers, kind));
  } else {
    fill_table(value, numbers, kind);
  }
}

template <class Table>
void fill_table(Table& table, Numbers& numbers, TextKind kind) {
  Table::fields(table, [&](int, const char*, auto& value) { fill(value, numbers, kind); });
}

template <std::size_t Index = 1>
Fact make_fact(std::size_t type, Numbers& numbers, TextKind kind) {
  if constexpr (Index < kFactTypes) {
    if (type != Index) return make_fact<Index + 1>(type, numbers, kind);
    Fact fact(std::in_place_index<Index>);
    fill_table(std::get<Index>(fact), numbers, kind);
    return fact;
  } else {
    return UnknownFact{};
  }
}

inline Envelope make_event(std::size_t type, std::uint64_t seed, TextKind kind) {
  Numbers numbers(seed);
  Envelope event;
  event.sequence = Sequence{1 + numbers() % 1'000'000};
  event.time = {{static_cast<std::int64_t>(numbers() >> 2)}, {static_cast<std::int64_t>(numbers() >> 2)}};
  event.boot = BootId(make_text(numbers, kind));
  event.clock = numbers() % 2 == 0 ? ClockState::kSynced : ClockState::kUnsynced;
  event.cause = Sequence{numbers() % event.sequence.value};
  event.random = numbers();
  event.correlation = Correlation(make_text(numbers, kind));
  event.actor = Actor(make_text(numbers, kind));
  event.build = make_text(numbers, kind);
  event.may_ignore = numbers() % 2 == 0;
  event.fact = make_fact(type, numbers, kind);
  event.stream = stream_of(event.fact);
  return event;
}

}  // namespace decklog::fixture
