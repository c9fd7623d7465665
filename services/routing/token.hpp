// Words of the query language. Positions are byte offsets into the query.
#pragma once

#include <cstdint>

namespace decklog::routing {

enum class TokenKind : std::uint8_t {
  kEnd,
  kString,
  kUnterminatedString,
  kNumber,
  kBadNumber,
  kTrue,
  kFalse,
  kNull,
  kUndefined,
  kAnd,
  kOr,
  kNot,
  kSelect,
  kFrom,
  kWhere,
  kInto,
  kName,
  kSystemName,  // begins with $
  kPath,        // a word with square brackets that does not begin with $
  kOpenBracket,
  kCloseBracket,
  kOpenBrace,
  kCloseBrace,
  kComma,
  kSemicolon,
  kPlus,
  kMinus,
  kStar,
  kSlash,
  kPercent,
  kConcat,
  kCoalesce,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kUnknown,
};

struct Token final {
  TokenKind kind = TokenKind::kEnd;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  double number = 0;
};

}  // namespace decklog::routing
