#include "services/iothub/twin_rules.hpp"

#include <cmath>

namespace decklog::iothub {

namespace json = boost::json;

namespace {

constexpr int kMaxDepth = 10;
constexpr std::size_t kMaxKeyBytes = 1024;
constexpr std::size_t kMaxStringBytes = 4096;
constexpr const char* kReplace = "$replace";
constexpr std::int64_t kMaxInteger = (std::int64_t(1) << 52) - 1;
constexpr std::int64_t kMinInteger = -(std::int64_t(1) << 52);

Error refuse(const std::string& path, std::string why) {
  return error(Errc::kMalformed, std::move(why), path);
}

Status check_key(std::string_view key, const std::string& path) {
  if (key.empty() || key.size() > kMaxKeyBytes) return refuse(path, "a name must have 1 to 1024 bytes");
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7F || c == '.' || c == '$' || c == '#')
      return refuse(path, "a name must hold no control characters, spaces, '.', '$' or '#'");
  }
  return {};
}

Status check_value(const json::value& value, const std::string& path, int depth, bool in_array) {
  if (depth > kMaxDepth && (value.is_object() || value.is_array()))
    return refuse(path, "deeper than 10 levels");
  if (value.is_null() && in_array) return refuse(path, "null is not allowed in an array");
  if (value.is_string() && value.get_string().size() > kMaxStringBytes)
    return refuse(path, "a string longer than 4096 bytes");
  if (value.is_int64() && (value.get_int64() > kMaxInteger || value.get_int64() < kMinInteger))
    return refuse(path, "an integer beyond 2^52");
  if (value.is_uint64()) return refuse(path, "an integer beyond 2^52");
  if (value.is_double() && !std::isfinite(value.get_double()))
    return refuse(path, "a number beyond what a double holds");
  if (value.is_array()) {
    for (const auto& item : value.get_array()) {
      if (auto status = check_value(item, path + "[]", depth + 1, true); !status) return status;
    }
  }
  if (value.is_object()) {
    for (const auto& member : value.get_object()) {
      const std::string_view key(member.key().data(), member.key().size());
      const std::string below = path + "." + std::string(key.substr(0, 64));
      if (auto status = check_key(key, below); !status) return status;
      if (auto status = check_value(member.value(), below, depth + 1, false); !status) return status;
    }
  }
  return {};
}

}  // namespace

Status check_twin_part(const json::object& part) {
  if (auto status = check_value(json::value(part), "reported", 0, false); !status) return status;
  if (twin_size(json::value(part)) > kMaxTwinBytes)
    return error(Errc::kTooLarge, "larger than 32 KiB", "reported");
  return {};
}

Result<json::object> parse_reported_patch(std::string_view text) {
  if (text.size() > 4 * kMaxTwinBytes) return error(Errc::kTooLarge, "larger than 32 KiB", "reported");
  json::parse_options options;
  options.max_depth = kMaxDepth + 2;
  json::error_code code;
  auto value = json::parse(text, code, {}, options);
  if (code) return refuse("reported", "not JSON: " + code.message());
  if (!value.is_object()) return refuse("reported", "must be an object");
  if (auto status = check_twin_part(value.get_object()); !status) return status.error();
  return std::move(value.get_object());
}

void merge_patch(json::object& document, const json::object& patch) {
  for (const auto& member : patch) {
    if (member.value().is_null()) {
      document.erase(member.key());
    } else if (member.value().is_object()) {
      auto& below = document[member.key()];
      if (!below.is_object()) below = json::object();
      merge_patch(below.get_object(), member.value().get_object());
    } else {
      document[member.key()] = member.value();
    }
  }
}

void merge_pending(json::object& pending, const json::object& patch) {
  for (const auto& member : patch) {
    const auto* more = member.value().if_object();
    auto* found = pending.if_contains(member.key());
    if (!found || !more) {
      pending[member.key()] = member.value();
      continue;
    }
    auto* before = found->if_object();
    if (before && !before->contains(kReplace)) {
      merge_pending(*before, *more);
    } else {
      // What was there went: deleted, replaced whole, or by something that is no object.
      json::object whole = before ? before->at(kReplace).as_object() : json::object();
      merge_patch(whole, *more);
      *found = json::object{{kReplace, std::move(whole)}};
    }
  }
}

void apply_pending(json::object& document, const json::object& pending) {
  for (const auto& member : pending) {
    const auto* inner = member.value().if_object();
    if (!inner) {
      merge_patch(document, {{member.key(), member.value()}});
    } else if (const auto* whole = inner->if_contains(kReplace)) {
      document[member.key()] = *whole;
    } else {
      auto& target = document[member.key()];
      if (!target.is_object()) target = json::object();
      apply_pending(target.get_object(), *inner);
    }
  }
}

json::object difference(const json::object& from, const json::object& to) {
  json::object patch;
  for (const auto& member : from) {
    if (!member.key().starts_with('$') && !to.contains(member.key())) patch[member.key()] = nullptr;
  }
  for (const auto& member : to) {
    if (member.key().starts_with('$')) continue;
    const auto* before = from.if_contains(member.key());
    if (before && *before == member.value()) continue;
    if (before && before->is_object() && member.value().is_object())
      patch[member.key()] = difference(before->get_object(), member.value().get_object());
    else
      patch[member.key()] = member.value();
  }
  return patch;
}

std::size_t twin_size(const json::value& value) {
  if (value.is_string()) return value.get_string().size();
  if (value.is_number()) return 8;
  if (value.is_bool()) return 4;
  std::size_t size = 0;
  if (value.is_array()) {
    for (const auto& item : value.get_array()) size += twin_size(item);
  } else if (value.is_object()) {
    for (const auto& member : value.get_object()) {
      if (!member.key().starts_with('$')) size += member.key().size() + twin_size(member.value());
    }
  }
  return size;
}

std::string twin_answer(json::object desired, std::uint64_t desired_version, json::object reported,
                        std::uint64_t reported_version) {
  desired["$version"] = desired_version;
  reported["$version"] = reported_version;
  return json::serialize(json::object{{"desired", std::move(desired)}, {"reported", std::move(reported)}});
}

std::string twin_error(int status, std::string_view message) {
  return json::serialize(json::object{{"errorCode", status * 1000 + 1}, {"message", message}});
}

json::object without_metadata(const json::object& object) {
  json::object out;
  for (const auto& member : object) {
    if (!member.key().starts_with('$')) out[member.key()] = member.value();
  }
  return out;
}

}  // namespace decklog::iothub
