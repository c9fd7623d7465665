#include "services/routing/lexer.hpp"

#include <array>

#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_name_character(char c) {
  return !is_blank(c) && std::string_view("()<>@,;:\\\"/[]?={}").find(c) == std::string_view::npos;
}

bool is_path_character(char c) {
  return c == '[' || c == ']' || is_name_character(c);
}

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

struct Keyword final {
  std::string_view text;
  TokenKind kind;
};

// Values are written in lower case only; TRUE is a property called TRUE.
constexpr std::array kExactWords{
    Keyword{"true", TokenKind::kTrue}, Keyword{"false", TokenKind::kFalse},
    Keyword{"null", TokenKind::kNull}, Keyword{"undefined", TokenKind::kUndefined},
    Keyword{"+", TokenKind::kPlus},    Keyword{"-", TokenKind::kMinus},
    Keyword{"*", TokenKind::kStar},    Keyword{"%", TokenKind::kPercent},
    Keyword{"||", TokenKind::kConcat},
};
constexpr std::array kAnyCaseWords{
    Keyword{"and", TokenKind::kAnd},   Keyword{"or", TokenKind::kOr},
    Keyword{"not", TokenKind::kNot},   Keyword{"select", TokenKind::kSelect},
    Keyword{"from", TokenKind::kFrom}, Keyword{"where", TokenKind::kWhere},
    Keyword{"into", TokenKind::kInto},
};

TokenKind keyword(std::string_view word) {
  for (const Keyword& each : kExactWords) {
    if (each.text == word) return each.kind;
  }
  for (const Keyword& each : kAnyCaseWords) {
    if (each.text.size() == word.size() && equal_ignoring_case(each.text, word)) return each.kind;
  }
  return TokenKind::kName;
}

}  // namespace

bool Lexer::comment_here(LexMode mode) {
  if (no_comment_ends_ || text_.substr(at_, 2) != "/*") return false;
  const bool parted = at_ > 0 && is_blank(text_[at_ - 1]);
  if (mode != LexMode::kExpression && !parted) return false;
  const std::size_t close = text_.find("*/", at_ + 2);
  no_comment_ends_ = close == std::string_view::npos;  // looked for once, so a text of "/*" stays linear
  if (no_comment_ends_) return false;
  if (mode != LexMode::kSourceStart) return true;
  const std::size_t after = text_.find_first_not_of(" \t\r\n", close + 2);
  return after != std::string_view::npos && text_[after] == '/';
}

void Lexer::skip_blanks(LexMode mode) {
  while (at_ < text_.size()) {
    if (is_blank(text_[at_])) {
      ++at_;
    } else if (comment_here(mode)) {
      at_ = text_.find("*/", at_ + 2) + 2;
    } else {
      return;
    }
  }
}

Token Lexer::made(TokenKind kind, std::uint32_t begin, std::size_t end) {
  at_ = end;
  return Token{kind, begin, static_cast<std::uint32_t>(end), 0};
}

Token Lexer::next(LexMode mode) {
  skip_blanks(mode);
  const auto begin = static_cast<std::uint32_t>(at_);
  if (at_ == text_.size()) return made(TokenKind::kEnd, begin, at_);
  const char c = text_[at_];
  if (c == '"' || c == '\'') return quoted(begin);
  if (is_path_character(c)) return word(begin);
  return mark(begin);
}

// A quote that holds an escape we do not know never ends. A single quote is also a name character, so the
// longer of the two readings counts: 'a'||'b' is one name, 'a' || 'b' are two texts.
Token Lexer::quoted(std::uint32_t begin) {
  const char quote = text_[begin];
  std::size_t end = begin + 1;
  bool closed = false;
  while (end < text_.size() && !closed) {
    const char c = text_[end];
    if (c == quote) {
      closed = true;
      ++end;
    } else if (c != '\\') {
      ++end;
    } else {
      const std::string_view rest = text_.substr(end + 1);
      if (!rest.empty() && (rest[0] == '"' || rest[0] == '\'' || rest[0] == '\\')) {
        end += 2;
      } else if (rest.size() >= 5 && rest[0] == 'u' && is_hex(rest[1]) && is_hex(rest[2]) &&
                 is_hex(rest[3]) && is_hex(rest[4])) {
        end += 6;
      } else {
        break;
      }
    }
  }
  std::size_t name_end = begin;
  while (name_end < text_.size() && is_name_character(text_[name_end])) ++name_end;
  if (name_end > end) return word(begin);
  return made(closed ? TokenKind::kString : TokenKind::kUnterminatedString, begin, end);
}

Token Lexer::word(std::uint32_t begin) {
  std::size_t path_end = begin;
  while (path_end < text_.size() && is_path_character(text_[path_end])) ++path_end;
  std::size_t name_end = begin;
  while (name_end < path_end && is_name_character(text_[name_end])) ++name_end;
  if (text_[begin] == '$' && path_end > begin + 1u) return made(TokenKind::kSystemName, begin, path_end);
  if (path_end > name_end) return made(TokenKind::kPath, begin, path_end);
  const std::string_view word = text_.substr(begin, name_end - begin);
  if (word == "!" && name_end < text_.size() && text_[name_end] == '=') {
    return made(TokenKind::kNotEqual, begin, name_end + 1);
  }
  const NumberText number = read_number_literal(word);
  if (number.form != NumberForm::kNone) {
    Token token =
        made(number.form == NumberForm::kGood ? TokenKind::kNumber : TokenKind::kBadNumber, begin, name_end);
    token.number = number.value;
    return token;
  }
  return made(keyword(word), begin, name_end);
}

Token Lexer::mark(std::uint32_t begin) {
  const std::string_view two = text_.substr(begin, 2);
  if (two == "<=") return made(TokenKind::kLessEqual, begin, begin + 2);
  if (two == ">=") return made(TokenKind::kGreaterEqual, begin, begin + 2);
  if (two == "<>") return made(TokenKind::kNotEqual, begin, begin + 2);
  if (two == "??") return made(TokenKind::kCoalesce, begin, begin + 2);
  switch (text_[begin]) {
    case '(':
      return made(TokenKind::kOpenBracket, begin, begin + 1);
    case ')':
      return made(TokenKind::kCloseBracket, begin, begin + 1);
    case '{':
      return made(TokenKind::kOpenBrace, begin, begin + 1);
    case '}':
      return made(TokenKind::kCloseBrace, begin, begin + 1);
    case ',':
      return made(TokenKind::kComma, begin, begin + 1);
    case ';':
      return made(TokenKind::kSemicolon, begin, begin + 1);
    case '/':
      return made(TokenKind::kSlash, begin, begin + 1);
    case '=':
      return made(TokenKind::kEqual, begin, begin + 1);
    case '<':
      return made(TokenKind::kLess, begin, begin + 1);
    case '>':
      return made(TokenKind::kGreater, begin, begin + 1);
    default:
      return made(TokenKind::kUnknown, begin, begin + 1);
  }
}

}  // namespace decklog::routing
