#include "services/agent/json_reader.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <cmath>
#include <set>

#include "events/utf8.hpp"
#include "services/agent/deployment.hpp"

namespace decklog::agent {
namespace {

namespace json = boost::json;

// Boost.JSON keeps the last of two members with one name; a deployment with a module twice must be refused
// instead.
struct DuplicateFinder {
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  std::vector<std::set<std::string>> open;
  std::string key, duplicate;

  using Code = json::error_code;
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) {
    open.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, Code&) {
    open.pop_back();
    return true;
  }
  bool on_array_begin(Code&) { return true; }
  bool on_array_end(std::size_t, Code&) { return true; }
  bool on_key_part(json::string_view part, std::size_t, Code&) {
    key.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, std::size_t, Code&) {
    key.append(part.data(), part.size());
    if (!open.back().insert(key).second && duplicate.empty()) duplicate = key;
    key.clear();
    return true;
  }
  bool on_string_part(json::string_view, std::size_t, Code&) { return true; }
  bool on_string(json::string_view, std::size_t, Code&) { return true; }
  bool on_number_part(json::string_view, Code&) { return true; }
  bool on_int64(std::int64_t, json::string_view, Code&) { return true; }
  bool on_uint64(std::uint64_t, json::string_view, Code&) { return true; }
  bool on_double(double, json::string_view, Code&) { return true; }
  bool on_bool(bool, Code&) { return true; }
  bool on_null(Code&) { return true; }
  bool on_comment_part(json::string_view, Code&) { return true; }
  bool on_comment(json::string_view, Code&) { return true; }
};

std::string position(std::string_view text, std::size_t offset) {
  offset = std::min(offset, text.size());
  const auto before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto last = before.rfind('\n');
  const auto column = last == std::string_view::npos ? offset + 1 : offset - last;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

}  // namespace

Result<json::value> parse_strict_json(std::string_view text, int max_depth) {
  json::parse_options options;
  options.max_depth = static_cast<std::size_t>(max_depth);
  json::basic_parser<DuplicateFinder> finder(options);
  json::error_code code;
  const std::size_t used = finder.write_some(false, text.data(), text.size(), code);
  if (!code && text.find_first_not_of(" \t\r\n", used) != std::string_view::npos) {
    return error(Errc::kMalformed, "something follows the JSON value at " + position(text, used));
  }
  if (code) return error(Errc::kMalformed, "not JSON: " + code.message() + " at " + position(text, used));
  if (!finder.handler().duplicate.empty()) {
    return error(Errc::kMalformed,
                 "member '" + printable(finder.handler().duplicate, 128) + "' appears twice");
  }
  json::value value = json::parse(text, code, {}, options);
  if (code) return error(Errc::kMalformed, "not JSON: " + code.message());
  return value;
}

// A member's name is the sender's: it reaches terminals and logs as printable text, and only the first of it.
std::string member_path(const std::string& parent, std::string_view member) {
  return parent + "." + printable(member, 128);
}

void Reader::refuse(std::string message, Errc code) const {
  throw Refusal{decklog::error(code, std::move(message), path_)};
}

const json::object& Reader::object() const {
  if (!value_->is_object()) refuse("must be an object");
  return value_->get_object();
}

const json::array& Reader::array() const {
  if (!value_->is_array()) refuse("must be an array");
  return value_->get_array();
}

void Reader::expect_members(std::initializer_list<std::string_view> allowed) const {
  for (const auto& member : object()) {
    const std::string_view name(member.key().data(), member.key().size());
    if (name.starts_with('$') || std::find(allowed.begin(), allowed.end(), name) != allowed.end()) continue;
    Reader(member.value(), member_path(path_, name)).refuse("unknown member");
  }
}

std::optional<Reader> Reader::find(std::string_view member) const {
  const auto* found = object().if_contains(member);
  if (!found || found->is_null()) return std::nullopt;
  return Reader(*found, member_path(path_, member));
}

Reader Reader::at(std::string_view member) const {
  auto found = find(member);
  if (!found) throw Refusal{decklog::error(Errc::kMalformed, "missing", member_path(path_, member))};
  return *found;
}

Reader Reader::item(std::size_t index) const {
  return Reader(array().at(index), path_ + "[" + std::to_string(index) + "]");
}

std::string Reader::text() const {
  if (!value_->is_string()) refuse("must be a string");
  const auto& text = value_->get_string();
  if (text.size() > kMaxTextBytes) refuse("longer than 64 KiB");
  if (text.find('\0') != json::string::npos) refuse("must not contain a NUL character");
  return std::string(text.data(), text.size());
}

std::string Reader::non_blank_text() const {
  std::string text = this->text();
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) refuse("must not be blank");
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::uint64_t Reader::number(std::uint64_t low, std::uint64_t high) const {
  json::error_code code;
  const auto number = value_->is_number() ? value_->to_number<std::uint64_t>(code) : 0;
  if (!value_->is_number() || code || number < low || number > high) {
    refuse("must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return number;
}

bool Reader::boolean() const {
  if (!value_->is_bool()) refuse("must be true or false");
  return value_->get_bool();
}

Duration Reader::seconds(std::uint64_t low, std::uint64_t high) const {
  double seconds = -1;
  if (value_->is_double()) seconds = value_->get_double();
  if (value_->is_int64()) seconds = static_cast<double>(value_->get_int64());
  if (value_->is_uint64()) seconds = static_cast<double>(value_->get_uint64());
  if (!std::isfinite(seconds) || seconds < static_cast<double>(low) || seconds > static_cast<double>(high)) {
    refuse("must be seconds from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return Duration(static_cast<std::int64_t>(seconds * 1e9));
}

std::size_t Reader::choice(std::initializer_list<std::string_view> names) const {
  const std::string text = this->text();
  std::size_t index = 0;
  std::string list;
  for (const auto name : names) {
    const bool same =
        text.size() == name.size() && std::equal(text.begin(), text.end(), name.begin(), [](char a, char b) {
          return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
        });
    if (same) return index;
    list += (index ? ", " : "") + std::string(name);
    ++index;
  }
  refuse("must be one of " + list);
}

}  // namespace decklog::agent
