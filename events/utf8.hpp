// Text from outside (programs' output, engines' messages) on its way into JSON, which has to be UTF-8. Pure.
#pragma once

#include <string>
#include <string_view>

namespace decklog {

// The beginning of `text`, at most `limit` bytes of it, that cuts no character in two.
std::string_view beginning_of(std::string_view text, std::size_t limit);

// `text` with U+FFFD in the place of every byte that is no part of a character.
std::string well_formed(std::string_view text);

// The beginning of a text that a stranger wrote, for terminals and messages: control characters as \u00XX.
std::string printable(std::string_view text, std::size_t limit);

}  // namespace decklog
