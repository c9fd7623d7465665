// Reads conditions and routes and lays out their parts, types checked, in the order they are computed.
// Internal to the room: use condition.hpp and route.hpp. One parser reads one query once.
// Recursion is bounded by kMaxNestingLevels; chains of operators do not recurse.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "services/routing/condition.hpp"
#include "services/routing/lexer.hpp"

namespace decklog::routing {

// A route taken apart; the condition is absent when there is no WHERE.
struct ParsedRoute final {
  std::string source;  // as written, without blanks
  std::optional<Condition> condition;
  std::string module;  // empty: $upstream
  std::string input;
};

class Parser final {
 public:
  Parser(std::string_view text, Diagnostic& diagnostic)
      : text_(text), lexer_(text), diagnostic_(diagnostic) {}

  bool parse_condition(std::string_view source, Condition& into);
  bool parse_route(ParsedRoute& into);

 private:
  bool accept_size();
  void advance(LexMode mode = LexMode::kExpression);
  bool take(TokenKind kind);
  std::string_view text_of(const Token& token) const {
    return text_.substr(token.begin, token.end - token.begin);
  }

  bool fail(std::uint32_t begin, std::uint32_t end, std::string message);
  bool fail_here(std::string_view expected);

  bool parse_source(std::string& source);
  bool parse_source_steps(std::string& source);
  bool parse_sink(ParsedRoute& into);
  bool parse_module_endpoint(ParsedRoute& into);

  bool parse_expression(int tightness);
  bool parse_prefix();
  bool parse_primary();
  bool parse_brackets();
  bool parse_braces();
  bool parse_call(const Token& name);
  bool parse_twin_change(const Token& name);
  bool parse_string();
  bool parse_system_name(const Token& token, bool escaped, std::uint32_t begin, std::uint32_t end);
  bool parse_path(std::string_view path, std::uint32_t begin, BodyPath& into);

  bool push(Part part);
  bool push_literal(Op op, Type type, double number = 0);
  bool push_text(Op op, std::string_view text, std::uint32_t begin, std::uint32_t end);
  bool push_path(Op op, BodyPath path, std::uint32_t begin, std::uint32_t end);
  bool push_prefix(Op op, const Token& token);
  bool push_binary(Op op, const Token& token, std::uint32_t left);
  bool finish_condition(std::uint32_t begin, std::uint32_t end);

  std::string_view text_;
  Lexer lexer_;
  Diagnostic& diagnostic_;
  Token token_;
  std::uint32_t last_end_ = 0;  // where the token before the current one ended
  std::uint32_t nesting_ = 0;
  bool twin_changes_ = false;
  Condition* out_ = nullptr;
};

}  // namespace decklog::routing
