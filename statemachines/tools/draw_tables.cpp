// Prints every table as Markdown with Mermaid diagrams.
#include <cstdio>

#include "statemachines/draw_tables.hpp"

int main() {
  std::fputs(decklog::statemachines::all_tables_markdown().c_str(), stdout);
  return 0;
}
