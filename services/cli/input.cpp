#include <fstream>
#include <iostream>
#include <sstream>

#include "services/cli/cli.hpp"

namespace decklog::cli {

Result<std::string> read_text(const std::string& file) {
  std::ostringstream text;
  if (file == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return error(Errc::kNotFound, "cannot be read", file);
  text << stream.rdbuf();
  return text.str();
}

}  // namespace decklog::cli
