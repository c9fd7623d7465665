// The parts of the parser that read names: $name, {$name}, body paths, twin paths, and the route around a
// condition.
#include <charconv>

#include "services/routing/limits.hpp"
#include "services/routing/parser.hpp"
#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

constexpr std::string_view kBodyPrefix = "$body.";
constexpr std::string_view kPathHelp =
    "a body path is names parted by dots, each with indexes like [0] if it is a list";

bool is_word(TokenKind kind) {
  switch (kind) {
    case TokenKind::kName:
    case TokenKind::kNumber:
    case TokenKind::kBadNumber:
    case TokenKind::kTrue:
    case TokenKind::kFalse:
    case TokenKind::kNull:
    case TokenKind::kUndefined:
    case TokenKind::kAnd:
    case TokenKind::kOr:
    case TokenKind::kNot:
    case TokenKind::kSystemName:
      return true;
    default:
      return false;
  }
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace

bool Parser::parse_system_name(const Token& token, bool escaped, std::uint32_t begin, std::uint32_t end) {
  const std::string_view name = text_of(token);
  if (starts_with_ignoring_case(name, kBodyPrefix)) {
    BodyPath path;
    path.name = std::string(name);
    const auto skip = static_cast<std::uint32_t>(kBodyPrefix.size());
    if (!parse_path(name.substr(skip), token.begin + skip, path)) return false;
    // A property name cannot hold square brackets, so such a path is never shadowed by one.
    const bool never_shadowed = escaped || name.find_first_of("[]") != std::string_view::npos;
    return push_path(never_shadowed ? Op::kBodyOnly : Op::kBody, std::move(path), begin, end);
  }
  if (name.find_first_of("[]") != std::string_view::npos) {
    Part part;
    part.begin = begin;
    part.end = end;
    part.first = static_cast<std::uint32_t>(out_->parts.size());
    return push(part);
  }
  return push_text(escaped ? Op::kSystemOnly : Op::kSystem, name, begin, end);
}

bool Parser::parse_path(std::string_view path, std::uint32_t begin, BodyPath& into) {
  std::size_t at = 0;
  do {
    const std::size_t stop = std::min(path.find_first_of(".[]", at), path.size());
    const std::string_view key = path.substr(at, stop - at);
    const auto where = begin + static_cast<std::uint32_t>(at);
    if (key.empty()) return fail(where, where, "a name is missing here; " + std::string(kPathHelp));
    if (all_digits(key))
      return fail(where, where + static_cast<std::uint32_t>(key.size()),
                  "a name in a body path cannot be a number; a list is indexed as in [0]");
    into.steps.push_back({std::string(key), 0, false});
    at = stop;
    while (at < path.size() && path[at] == '[') {
      const std::size_t close = path.find(']', at);
      const auto open = begin + static_cast<std::uint32_t>(at);
      if (close == std::string_view::npos)
        return fail(open, open + 1, "'[' is never closed; " + std::string(kPathHelp));
      const std::string_view digits = path.substr(at + 1, close - at - 1);
      PathStep step{{}, 0, true};
      const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), step.index);
      if (!all_digits(digits) || failure != std::errc{}) {
        return fail(open, begin + static_cast<std::uint32_t>(close) + 1,
                    "an index is a whole number from 0, as in [0]");
      }
      into.steps.push_back(std::move(step));
      at = close + 1;
      if (into.steps.size() > kMaxPathSteps) break;
    }
    if (into.steps.size() > kMaxPathSteps) return fail(begin, begin + 1, "body path of more than 64 steps");
    if (at == path.size()) return true;
    if (path[at] != '.') {
      const auto odd = begin + static_cast<std::uint32_t>(at);
      return fail(odd, odd + 1, "expected '.' or '[' here; " + std::string(kPathHelp));
    }
    ++at;
  } while (true);
}

bool Parser::parse_twin_change(const Token& name) {
  if (!twin_changes_) {
    return fail(name.begin, name.end,
                "twin_change_includes() may only be used in a route from /twinChangeNotifications");
  }
  advance();
  const Token path_token = token_;
  const std::string_view path = text_of(path_token);
  if (path_token.kind != TokenKind::kName)
    return fail_here("a path that begins with properties.reported., properties.desired. or tags.");
  BodyPath parsed;
  parsed.name = std::string(path);
  bool known = false;
  for (const std::string_view prefix : {"properties.reported.", "properties.desired.", "tags."}) {
    known = known || starts_with_ignoring_case(path, prefix);
  }
  if (!known) {
    return fail(path_token.begin, path_token.end,
                "twin_change_includes() expects a path that begins with properties.reported., "
                "properties.desired. or tags.");
  }
  if (!parse_path(path, path_token.begin, parsed)) return false;
  advance();
  const std::uint32_t end = token_.end;
  if (!take(TokenKind::kCloseBracket)) return fail_here("')' after the one path");
  return push_path(Op::kTwinChange, std::move(parsed), name.begin, end);
}

bool Parser::parse_route(ParsedRoute& into) {
  if (!accept_size()) return false;
  advance();
  if (take(TokenKind::kSelect)) {
    if (!take(TokenKind::kStar)) return fail_here("'*' after SELECT");
  }
  if (token_.kind != TokenKind::kFrom) return fail_here("FROM");
  if (!parse_source(into.source)) return false;
  if (take(TokenKind::kWhere)) {
    Condition condition;
    out_ = &condition;
    std::string_view source = into.source;
    while (source.ends_with('*') || (source.size() > 1 && source.ends_with('/'))) source.remove_suffix(1);
    twin_changes_ = equal_ignoring_case(source, "/twinChangeNotifications");
    if (token_.kind == TokenKind::kInto) return fail_here("a condition after WHERE");
    const std::uint32_t begin = token_.begin;
    if (!parse_expression(0)) return false;
    if (token_.kind != TokenKind::kInto) return fail_here("an operator or INTO");
    if (!finish_condition(begin, last_end_)) return false;
    into.condition = std::move(condition);
  }
  if (!take(TokenKind::kInto)) return fail_here("WHERE or INTO");
  if (!parse_sink(into)) return false;
  take(TokenKind::kSemicolon);
  if (token_.kind != TokenKind::kEnd) return fail_here("the end of the route; a route has one sink");
  return true;
}

bool Parser::parse_source(std::string& source) {
  advance(LexMode::kSourceStart);
  if (token_.kind != TokenKind::kSlash) return fail_here("a source that begins with '/', as in /messages/*");
  while (token_.kind == TokenKind::kSlash) {
    advance();
    if (token_.kind != TokenKind::kStar && !is_word(token_.kind)) return fail_here("a name or '*' after '/'");
    source += "/";
    source += text_of(token_);
    advance(LexMode::kSourceStep);
  }
  return true;
}

bool Parser::parse_sink(ParsedRoute& into) {
  if (token_.kind == TokenKind::kSystemName) {
    if (!equal_ignoring_case(text_of(token_), "$upstream"))
      return fail_here("$upstream or BrokeredEndpoint(\"/modules/<module>/inputs/<input>\")");
    advance();
    return true;
  }
  if (token_.kind != TokenKind::kName || !equal_ignoring_case(text_of(token_), "BrokeredEndpoint")) {
    return fail_here("$upstream or BrokeredEndpoint(\"/modules/<module>/inputs/<input>\")");
  }
  advance();
  if (!take(TokenKind::kOpenBracket)) return fail_here("'(' after BrokeredEndpoint");
  if (!parse_module_endpoint(into)) return false;
  if (!take(TokenKind::kCloseBracket)) return fail_here("')' after the address");
  return true;
}

bool Parser::parse_module_endpoint(ParsedRoute& into) {
  if (token_.kind != TokenKind::kString)
    return fail_here("an address in quotes, \"/modules/<module>/inputs/<input>\"");
  std::string_view address = trimmed(text_.substr(token_.begin + 1, token_.end - token_.begin - 2));
  if (address.starts_with('/')) address.remove_prefix(1);
  if (address.ends_with('/')) address.remove_suffix(1);
  std::vector<std::string_view> items;
  for (std::size_t at = 0; items.size() < 5;) {
    const std::size_t slash = std::min(address.find('/', at), address.size());
    items.push_back(address.substr(at, slash - at));
    if (slash == address.size()) break;
    at = slash + 1;
  }
  const bool shaped = items.size() == 4 && equal_ignoring_case(items[0], "modules") &&
                      equal_ignoring_case(items[2], "inputs") && !items[1].empty() && !items[3].empty();
  if (!shaped) {
    return fail(token_.begin, token_.end, "an address reads /modules/<module>/inputs/<input>");
  }
  into.module = std::string(items[1]);
  into.input = std::string(items[3]);
  advance();
  return true;
}

}  // namespace decklog::routing
