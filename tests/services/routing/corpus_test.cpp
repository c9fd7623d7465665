// The kept fuzz inputs, run as a plain test on every build.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

TEST(RoutingCorpus, EveryKeptInputIsHarmless) {
  const std::filesystem::path folder = std::filesystem::path(DECKLOG_SOURCE_DIR) / "tests/fuzz/corpus/route";
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    SCOPED_TRACE(entry.path().filename().string());
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
    ++count;
  }
  EXPECT_GE(count, 60u);
}

// Inputs that would be costly for a careless parser.
TEST(RoutingCorpus, LongMonotonousInputIsHarmless) {
  const auto repeated = [](std::string_view piece, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += piece;
    return text;
  };
  for (const std::string_view piece : {"(",          ")",          "not ",
                                       "- ",         "/*",         "/*x",
                                       "*/",         "'",          "\"",
                                       "'a'",        "\"a\" || ",  "1 + ",
                                       "true and ",  "x ?? ",      "abs(",
                                       "concat(x,",  "$body.a ",   "{",
                                       "\\",         "$body.a.a",  "1 < ",
                                       "FROM /* ",   "FROM /a/* ", "/*/",
                                       "$body.a[0]", "e9",         "\xF0\x9F\x98\x80",
                                       "\x80",       "0x1",        "contains(site,'a') or "}) {
    for (const std::size_t bytes : {200u, 60'000u, 70'000u}) {
      const std::string text = repeated(piece, bytes);
      EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()), 0);
    }
  }
}
