// Reading of members from JSON that others wrote, without exceptions: a missing or wrongly typed member gives
// the fallback. Included by .cpp files of this folder only.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace decklog::runtime {

inline const boost::json::value* member(const boost::json::value* from, std::string_view name) {
  const auto* object = from ? from->if_object() : nullptr;
  return object ? object->if_contains(name) : nullptr;
}

inline std::string text_of(const boost::json::value* value, std::string_view fallback = {}) {
  const auto* text = value ? value->if_string() : nullptr;
  return std::string(text ? std::string_view(*text) : fallback);
}

inline std::int64_t integer_of(const boost::json::value* value, std::int64_t fallback = 0) {
  if (!value) return fallback;
  if (const auto* number = value->if_int64()) return *number;
  if (const auto* number = value->if_uint64()) {
    return *number > INT64_MAX ? fallback : static_cast<std::int64_t>(*number);
  }
  return fallback;
}

inline bool bool_of(const boost::json::value* value) {
  const auto* flag = value ? value->if_bool() : nullptr;
  return flag && *flag;
}

}  // namespace decklog::runtime
