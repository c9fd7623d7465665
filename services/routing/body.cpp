#include "services/routing/body.hpp"

#include <boost/json/parse.hpp>
#include <boost/system/error_code.hpp>

#include "services/routing/limits.hpp"
#include "services/routing/text.hpp"

namespace decklog::routing {

Body::Body(std::string_view bytes, std::string_view content_type, std::string_view content_encoding)
    : memory_(first_block_, sizeof(first_block_)), root_(&memory_) {
  if (!equal_ignoring_case(content_type, "application/json")) {
    problem_ =
        content_type.empty() ? "the message has no contentType" : "contentType is not application/json";
    return;
  }
  if (content_encoding.empty()) {
    problem_ = "the message has no contentEncoding";
    return;
  }
  if (bytes.size() > kMaxBodyBytes) {
    problem_ = "the body is larger than 1048576 bytes";
    return;
  }
  const std::optional<std::string> decoded = decode_text(bytes, content_encoding);
  if (!decoded) {
    problem_ = "the body is not in a contentEncoding of utf-8, utf-16 or utf-32";
    return;
  }
  boost::json::parse_options options;
  options.max_depth = kMaxBodyDepthLevels;
  boost::system::error_code failure;
  root_ = boost::json::parse(*decoded, failure, &memory_, options);
  if (failure) {
    problem_ = "the body is not JSON: " + failure.message();
  } else if (!root_.is_object()) {
    problem_ = "the body is JSON, but not an object";
  }
}

const boost::json::value* Body::find(const std::vector<PathStep>& steps) const {
  const boost::json::value* at = &root_;
  for (const PathStep& step : steps) {
    if (step.is_index) {
      const auto* list = at->if_array();
      at = list ? list->if_contains(step.index) : nullptr;
    } else {
      const auto* object = at->if_object();
      at = object ? object->if_contains(step.key) : nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

}  // namespace decklog::routing
