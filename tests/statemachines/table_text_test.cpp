// The README's tables are the tables. DECKLOG_REWRITE=1 writes them anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "statemachines/draw_tables.hpp"

namespace decklog::statemachines {
namespace {

constexpr const char* kReadme = DECKLOG_SOURCE_DIR "/statemachines/README.md";
constexpr std::string_view kBegin = "<!-- tables begin -->\n", kEnd = "<!-- tables end -->";

TEST(Tables, TheReadmeShowsThem) {
  std::ifstream file(kReadme);
  std::stringstream text;
  text << file.rdbuf();
  std::string readme = text.str();
  const auto begin = readme.find(kBegin), end = readme.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::string shown = readme.substr(begin + kBegin.size(), end - begin - kBegin.size());
  const std::string real = all_tables_markdown();
  if (const char* rewrite = std::getenv("DECKLOG_REWRITE"); rewrite && std::string_view(rewrite) == "1") {
    readme.replace(begin + kBegin.size(), shown.size(), real);
    std::ofstream(kReadme) << readme;
    return;
  }
  EXPECT_EQ(shown, real) << "run this test with DECKLOG_REWRITE=1";
}

TEST(Tables, AreMermaidStateDiagrams) {
  const std::string text = all_tables_markdown();
  std::istringstream lines(text);
  std::string line;
  int diagrams = 0, arrows = 0;
  bool inside = false;
  while (std::getline(lines, line)) {
    if (line == "```mermaid")
      ++diagrams, inside = true;
    else if (line == "```")
      inside = false;
    else if (inside && line != "stateDiagram-v2" && line.find("%%") == std::string::npos) {
      EXPECT_NE(line.find(" --> "), std::string::npos) << line;
      ++arrows;
    }
  }
  EXPECT_EQ(diagrams, 4);
  EXPECT_GT(arrows, 150);
}

}  // namespace
}  // namespace decklog::statemachines
