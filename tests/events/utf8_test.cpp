// Text from outside: cut between characters, and never anything but UTF-8.
#include "events/utf8.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace decklog {
namespace {

bool is_utf8(std::string_view text) {
  boost::json::error_code failed;
  (void)boost::json::parse("\"" + std::string(text) + "\"", failed);
  return !failed;
}

TEST(Utf8, ABeginningCutsNoCharacterInTwo) {
  EXPECT_EQ(beginning_of("abc", 3), "abc");
  EXPECT_EQ(beginning_of("abc", 2), "ab");
  EXPECT_EQ(beginning_of("a\u00e4b", 2), "a");
  EXPECT_EQ(beginning_of("a\u00e4b", 3), "a\u00e4");
  EXPECT_EQ(beginning_of("\U0001F6F0x", 3), "");
  const std::string text = "x\u00e4\u20ac\U0001F6F0yz\u00df";
  for (std::size_t limit = 0; limit <= text.size(); ++limit) {
    const auto begin = beginning_of(text, limit);
    EXPECT_LE(begin.size(), limit);
    EXPECT_TRUE(is_utf8(begin)) << limit;
  }
}

TEST(Utf8, BytesOfNoCharacterAreCutAnywhereSoThatPartsAlwaysGrow) {
  const std::string junk(40, '\x80');
  EXPECT_EQ(beginning_of(junk, 10).size(), 10u);
}

TEST(Utf8, WhatIsNoCharacterIsReplaced) {
  EXPECT_EQ(well_formed("pl\u00e4in"), "pl\u00e4in");
  EXPECT_EQ(well_formed("a\xff\xfez"), "a\uFFFD\uFFFDz");
  EXPECT_EQ(well_formed("cut \xe2\x82"), "cut \uFFFD\uFFFD");
  EXPECT_EQ(well_formed("\xc0\xaf"), "\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(well_formed("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
  for (int lead = 0x80; lead < 0x100; ++lead) {
    const std::string text{static_cast<char>(lead), '\x90', '\x8f', 'x', static_cast<char>(lead)};
    EXPECT_TRUE(is_utf8(well_formed(text))) << lead;
  }
}

TEST(Utf8, AStrangersTextDrivesNoTerminal) {
  EXPECT_EQ(printable("\x1b[31mred\n\x7f", 100), "\\u001b[31mred\\u000a\\u007f");
  EXPECT_EQ(printable("gr\u00fcn", 3), "gr");
}

}  // namespace
}  // namespace decklog
