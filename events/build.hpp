// Which build this is. The id goes into every event, so that a log says who wrote it.
#pragma once

#include <string>

namespace decklog {

inline constexpr const char* kVersion = "0.1.0";

// "0.1.0+<first 16 hex digits of the linker's build id>": differs whenever the program differs, on any
// machine.
const std::string& build_id();

}  // namespace decklog
