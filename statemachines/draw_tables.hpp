// All tables as one Markdown text: what README.md holds between its markers and `draw_tables` prints. Pure.
#pragma once

#include <string>

namespace decklog::statemachines {

std::string all_tables_markdown();

}  // namespace decklog::statemachines
