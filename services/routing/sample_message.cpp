#include "services/routing/sample_message.hpp"

#include <boost/json/serialize.hpp>

#include "services/routing/text.hpp"

namespace decklog::routing {
namespace {

namespace json = boost::json;

void append_unit(std::string& bytes, std::uint32_t unit, int size) {
  for (int i = 0; i < size; ++i)
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(unit >> (8 * i))));
}

// UTF-8 to UTF-16 or UTF-32, little endian.
std::string widened(std::string_view text, int size) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t count = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    std::uint32_t point = count == 1 ? lead : lead & (0xFFu >> (count + 1));
    for (std::size_t i = 1; i < count && at + i < text.size(); ++i) {
      point = (point << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3Fu);
    }
    at += count;
    if (size == 2 && point >= 0x10000) {
      append_unit(bytes, 0xD800 + ((point - 0x10000) >> 10), 2);
      append_unit(bytes, 0xDC00 + ((point - 0x10000) & 0x3FF), 2);
    } else {
      append_unit(bytes, point, size);
    }
  }
  return bytes;
}

std::string_view view_of(const json::string& text) {
  return {text.data(), text.size()};
}

}  // namespace

Status SampleMessage::read_properties(const json::object& message, std::string_view member,
                                      std::vector<Property>& into) {
  const json::value* found = message.if_contains(json::string_view(member.data(), member.size()));
  if (found == nullptr) return {};
  const json::object* object = found->if_object();
  if (object == nullptr)
    return error(Errc::kMalformed, "expected an object of texts", "$." + std::string(member));
  for (const auto& [key, value] : *object) {
    const std::string name(key.data(), key.size());
    if (!value.is_string())
      return error(Errc::kMalformed, "expected a text", "$." + std::string(member) + "." + name);
    into.emplace_back(name, std::string(view_of(value.get_string())));
  }
  return {};
}

Result<SampleMessage> SampleMessage::read(const json::value& message) {
  const json::object* object = message.if_object();
  if (object == nullptr) return error(Errc::kMalformed, "a message is an object", "$");
  SampleMessage sample;
  if (Status read = read_properties(*object, "appProps", sample.application_); !read) return read.error();
  if (Status read = read_properties(*object, "sysProps", sample.system_); !read) return read.error();
  if (const json::value* raw = object->if_contains("bodyRaw")) {
    if (!raw->is_string()) return error(Errc::kMalformed, "expected a text", "$.bodyRaw");
    sample.body_ = std::string(view_of(raw->get_string()));
  } else if (const json::value* body = object->if_contains("body")) {
    sample.body_ = json::serialize(*body);
  }
  for (const Property& each : sample.system_) {
    if (!equal_ignoring_case(each.first, "contentEncoding")) continue;
    if (equal_ignoring_case(each.second, "utf-16")) sample.body_ = widened(sample.body_, 2);
    if (equal_ignoring_case(each.second, "utf-32")) sample.body_ = widened(sample.body_, 4);
    break;
  }
  return sample;
}

MessageView SampleMessage::view(std::string_view source) const {
  application_views_.clear();
  system_views_.clear();
  for (const Property& each : application_) application_views_.push_back({each.first, each.second});
  for (const Property& each : system_) system_views_.push_back({each.first, each.second});
  return {source, body_, application_views_, system_views_};
}

}  // namespace decklog::routing
