#include "services/routing/text.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace decklog::routing {
namespace {

TEST(Text, IgnoresCaseAlsoBeyondAscii) {
  EXPECT_TRUE(equal_ignoring_case("Abc", "aBC"));
  EXPECT_TRUE(equal_ignoring_case("Żółw", "żÓŁW"));
  EXPECT_TRUE(equal_ignoring_case("", ""));
  EXPECT_FALSE(equal_ignoring_case("abc", "abd"));
  EXPECT_FALSE(equal_ignoring_case("abc", "ab"));
  EXPECT_FALSE(equal_ignoring_case("é", "e"));
}

TEST(Text, OrdersByUtf16Unit) {
  EXPECT_LT(compare_utf16("a", "b"), 0);
  EXPECT_LT(compare_utf16("a", "ab"), 0);
  EXPECT_EQ(compare_utf16("ab", "ab"), 0);
  EXPECT_GT(compare_utf16("\xEF\xBF\xBD", "😀"), 0);
  EXPECT_LT(compare_utf16("\xED\x9F\xBF", "😀"), 0);
}

TEST(Text, SlicesByUtf16Unit) {
  EXPECT_EQ(slice_utf16("a😀b", 0, 4), "a😀b");
  EXPECT_EQ(slice_utf16("a😀b", 3, 1), "b");
  std::string joined = slice_utf16("a😀b", 0, 2);
  append_text(joined, slice_utf16("a😀b", 2, 2));
  EXPECT_EQ(joined, "a😀b");
  EXPECT_EQ(length_utf16(slice_utf16("😀", 1, 1)), 1u);
}

TEST(Text, CountsBrokenBytesAsOneUnitEach) {
  EXPECT_EQ(length_utf16("\xFF\xC3"), 2u);
  EXPECT_EQ(lower_text("\xFF"
                       "A"),
            "\xFF"
            "a");
}

TEST(Text, DecodesTheThreeEncodings) {
  using namespace std::string_literals;
  EXPECT_EQ(decode_text("h\0\xF3\0"s, "UTF-16"), "hó");
  EXPECT_EQ(decode_text("\x3D\xD8\0\xDE"s, "utf-16"), "😀");
  EXPECT_EQ(decode_text("\0\xF6\x01\0"s, "utf-32"), "😀");
  EXPECT_EQ(decode_text("\xEF\xBB\xBF{}", "utf-8"), "{}");
  EXPECT_FALSE(decode_text("abc", "utf-16"));
  EXPECT_FALSE(decode_text("\x3D\xD8"s, "utf-16"));
  EXPECT_FALSE(decode_text("\0\0\x11\0"s, "utf-32"));
  EXPECT_FALSE(decode_text("abc", "latin-1"));
}

TEST(NumberTextRules, WriteAndReadAgree) {
  for (const double value : {0.0, 1.0, -1.5, 0.1, 1e300, 5e-324, 123456789012345680.0}) {
    EXPECT_EQ(read_number_literal(write_number(value)).value, value);
  }
  EXPECT_TRUE(std::isinf(read_number_literal(write_number(std::numeric_limits<double>::infinity())).value));
}

TEST(NumberTextRules, LongNumbersAreReadWhole) {
  EXPECT_EQ(read_number_text(std::string(5000, '9')), std::numeric_limits<double>::infinity());
  EXPECT_EQ(read_number_text("0." + std::string(5000, '0') + "1"), 0.0);
  EXPECT_EQ(read_number_text("1e" + std::string(5000, '9')), std::numeric_limits<double>::infinity());
  EXPECT_EQ(read_number_text("1" + std::string(400, '0') + "e-400"), 1.0);
  EXPECT_EQ(read_number_text("0e99999"), 0.0);
}

}  // namespace
}  // namespace decklog::routing
