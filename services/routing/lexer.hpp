// Splits a query into words, one at a time, longest word first: a name may hold every character except
// ( ) < > @ , ; : \ " / [ ] ? = { } and blanks, so + - * % | ! and ' stick to a name unless blanks part them.
// Borrows the query text. Never fails: what is no word comes out as kUnknown.
#pragma once

#include <string_view>

#include "services/routing/token.hpp"

namespace decklog::routing {

// Inside a source path "/*" is a step and not the beginning of a comment.
enum class LexMode : std::uint8_t { kExpression, kSourceStart, kSourceStep };

class Lexer final {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}
  Token next(LexMode mode = LexMode::kExpression);

 private:
  void skip_blanks(LexMode mode);
  bool comment_here(LexMode mode);
  Token quoted(std::uint32_t begin);
  Token word(std::uint32_t begin);
  Token mark(std::uint32_t begin);
  Token made(TokenKind kind, std::uint32_t begin, std::size_t end);

  std::string_view text_;
  std::size_t at_ = 0;
  bool no_comment_ends_ = false;
};

}  // namespace decklog::routing
