// How records are encrypted at rest: the caller's functions, so that no key is ever here. Additional data is
// the record's key: a sealed value that was moved to another key does not open.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "events/result.hpp"

namespace decklog::persistence {

struct Sealer {
  std::function<std::string(std::string_view aad, std::string_view plain)> seal;
  std::function<Result<std::string>(std::string_view aad, std::string_view sealed)> open;
};

}  // namespace decklog::persistence
