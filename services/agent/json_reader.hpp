// Reading a JSON document strictly: every refusal names the path, unknown members are refused, duplicates
// too. Private to services/agent. A Reader does not own the value it looks at.
#pragma once

#include <boost/json.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::agent {

// Thrown inside a parse and caught at its edge (parse_*): keeps forty checks readable. Never leaves the
// folder.
struct Refusal {
  Error error;
};

// Parses text, refusing duplicate member names, nesting deeper than max_depth and anything after the value.
Result<boost::json::value> parse_strict_json(std::string_view text, int max_depth);

class Reader {
 public:
  Reader(const boost::json::value& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  const boost::json::value& value() const { return *value_; }
  [[noreturn]] void refuse(std::string message, Errc code = Errc::kMalformed) const;

  // Refuses when this is not an object or has members besides these (names that begin with '$' are always
  // allowed).
  void expect_members(std::initializer_list<std::string_view> allowed) const;
  const boost::json::object& object() const;
  const boost::json::array& array() const;

  std::optional<Reader> find(std::string_view member) const;  // nullopt also when null
  Reader at(std::string_view member) const;                   // refuses when missing
  Reader item(std::size_t index) const;

  std::string text() const;            // refuses non-strings and strings over kMaxTextBytes
  std::string non_blank_text() const;  // trimmed, not empty
  std::uint64_t number(std::uint64_t low, std::uint64_t high) const;
  bool boolean() const;
  Duration seconds(std::uint64_t low, std::uint64_t high) const;  // whole or fractional seconds
  // One of the given names, ignoring case; gives its index.
  std::size_t choice(std::initializer_list<std::string_view> names) const;

 private:
  const boost::json::value* value_;
  std::string path_;
};

std::string member_path(const std::string& parent, std::string_view member);

}  // namespace decklog::agent
