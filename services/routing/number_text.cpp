// Reading and writing numbers, without the locale.
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::size_t digits_at(std::string_view text, std::size_t at) {
  std::size_t count = 0;
  while (at + count < text.size() && is_digit(text[at + count])) ++count;
  return count;
}

// digits [. digits] [e [sign] digits] without a sign: a value even when it is out of a double's range.
double decimal_value(std::string_view digits) {
  double value = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (failure != std::errc::result_out_of_range) return value;
  const std::size_t e = digits.find_first_of("eE");
  const std::string_view mantissa = digits.substr(0, e);
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  const std::size_t first = mantissa.find_first_of("123456789");
  if (first == std::string_view::npos) return 0;
  double magnitude = first < point ? static_cast<double>(point - first) : -static_cast<double>(first - point);
  if (e != std::string_view::npos) {
    std::string_view power = digits.substr(e + 1);
    const bool down = power.front() == '-';
    if (down || power.front() == '+') power.remove_prefix(1);
    power.remove_prefix(std::min(power.find_first_not_of('0'), power.size()));
    double size = power.size() > 9 ? 1e9 : 0;  // beyond any double either way
    if (power.size() <= 9) {
      for (const char c : power) size = size * 10 + (c - '0');
    }
    magnitude += down ? -size : size;
  }
  return magnitude > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

NumberText read_hexadecimal(std::string_view digits) {
  for (const char c : digits) {
    if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F')) return {};
  }
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (failure != std::errc{}) return {NumberForm::kBad, 0};
  return {NumberForm::kGood, static_cast<double>(value)};
}

// Digits with commas between them, a fraction and an exponent; copies what counts and says where it stopped.
struct Mantissa final {
  std::string digits;
  std::size_t end = 0;
  bool any = false;
};

Mantissa take_mantissa(std::string_view text, std::size_t at) {
  Mantissa taken;
  bool fraction = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (is_digit(c)) {
      taken.digits.push_back(c);
      taken.any = true;
    } else if (c == '.' && !fraction) {
      fraction = true;
      taken.digits.push_back(c);
    } else if (c != ',' || !taken.any || fraction) {
      break;
    }
  }
  if (taken.any && at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    std::size_t power = at + 1;
    if (power < text.size() && (text[power] == '+' || text[power] == '-')) ++power;
    const std::size_t count = digits_at(text, power);
    if (count > 0) {
      taken.digits.append(text.substr(at, power + count - at));
      at = power + count;
    }
  }
  taken.end = at;
  return taken;
}

std::optional<double> read_named_number(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (!equal_ignoring_case(text, "infinity")) return std::nullopt;
  const double infinity = std::numeric_limits<double>::infinity();
  return negative ? -infinity : infinity;
}

}  // namespace

NumberText read_number_literal(std::string_view word) {
  if (word.size() > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X'))
    return read_hexadecimal(word.substr(2));
  const std::size_t start = !word.empty() && word.front() == '-' ? 1 : 0;
  std::size_t at = start;
  const std::size_t whole = digits_at(word, at);
  at += whole;
  std::size_t part = 0;
  if (at < word.size() && word[at] == '.') {
    part = digits_at(word, at + 1);
    if (part == 0) return {};
    at += 1 + part;
  }
  if (whole + part == 0) return {};
  if (at < word.size() && (word[at] == 'e' || word[at] == 'E')) {
    std::size_t power = at + 1;
    if (power < word.size() && (word[power] == '+' || word[power] == '-')) ++power;
    const std::size_t count = digits_at(word, power);
    if (count == 0) return {};
    at = power + count;
  }
  if (at != word.size()) return {};
  const double value = decimal_value(word.substr(start));
  return {NumberForm::kGood, start == 1 ? -value : value};
}

std::optional<double> read_number_text(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (const auto named = read_named_number(text)) return named;
  bool sign = false;
  bool negative = false;
  bool bracket = false;
  std::size_t at = 0;
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) {
    sign = true;
    negative = text[at++] == '-';
  } else if (at < text.size() && text[at] == '(') {
    sign = bracket = negative = true;
    ++at;
  }
  const Mantissa taken = take_mantissa(text, at);
  if (!taken.any) return std::nullopt;
  for (at = taken.end; at < text.size(); ++at) {
    const char c = text[at];
    if (is_space(c)) continue;
    if (!sign && (c == '-' || c == '+')) {
      sign = true;
      negative = c == '-';
    } else if (bracket && c == ')') {
      bracket = false;
    } else {
      return std::nullopt;
    }
  }
  if (bracket) return std::nullopt;
  const double value = decimal_value(taken.digits);
  return negative ? -value : value;
}

std::string write_number(double value) {
  if (std::isnan(value)) return "undefined";
  if (std::isinf(value)) return value > 0 ? "1e999" : "-1e999";
  std::array<char, 40> buffer{};
  const auto [end, failure] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return failure == std::errc{} ? std::string(buffer.data(), end) : std::string("0");
}

}  // namespace decklog::routing
