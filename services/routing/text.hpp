// Text rules of the query language on UTF-8 bytes: positions and lengths count UTF-16 units and order is by
// UTF-16 unit, because that is what routes written for Edge Hub rely on. Pure; linear in the input; never
// fails: bytes that are no UTF-8 count as one unit each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace decklog::routing {

bool equal_ignoring_case(std::string_view left, std::string_view right);
bool starts_with_ignoring_case(std::string_view text, std::string_view prefix);

// Less than, equal to or greater than zero.
int compare_utf16(std::string_view left, std::string_view right);
std::size_t length_utf16(std::string_view text);

// The byte where UTF-16 unit `units` begins and whether that cuts a character of two units in half.
struct UnitPosition final {
  std::size_t byte = 0;
  bool inside_pair = false;
};
UnitPosition position_utf16(std::string_view text, std::size_t units);
// Units [first, first + count) of the text, which must hold that many. A half of a pair is kept as its own
// three bytes; append_text puts halves that meet together again.
std::string slice_utf16(std::string_view text, std::size_t first, std::size_t count);
void append_text(std::string& text, std::string_view more);
void append_code_point(std::string& text, std::uint32_t point);

std::string lower_text(std::string_view text);
std::string upper_text(std::string_view text);

// Bytes as UTF-8, from "utf-8", "utf-16" or "utf-32" (little endian, names in any case); nothing when the
// name or the length does not fit.
std::optional<std::string> decode_text(std::string_view bytes, std::string_view encoding);

enum class NumberForm : std::uint8_t { kNone, kGood, kBad };
struct NumberText final {
  NumberForm form = NumberForm::kNone;
  double value = 0;
};
// A number as a query writes it: -12, .5, 2E-1, 0x1F. kBad: hexadecimal of more than 64 bits.
NumberText read_number_literal(std::string_view word);
// A number as a property holds it: blanks around, a sign on either side, brackets for negative, commas
// between digits, an exponent. Hexadecimal is no number.
std::optional<double> read_number_text(std::string_view text);
// Shortest text that reads back as the same number.
std::string write_number(double value);

// The text between the quotes of a literal with \" \' \\ and \uXXXX replaced.
std::string unescape(std::string_view inner);
std::string quote(std::string_view text);

}  // namespace decklog::routing
