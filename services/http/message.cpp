#include "services/http/message.hpp"

#include <boost/json.hpp>
#include <boost/url.hpp>

namespace decklog::http {

const std::string* Request::header(std::string_view lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? nullptr : &found->second;
}

std::string_view Request::parameter(std::string_view name) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string_view() : std::string_view(found->second);
}

const std::string* Response::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return &value;
  }
  return nullptr;
}

Response json_error(int status, std::string_view message) {
  return {status, "application/json", boost::json::serialize(boost::json::object{{"message", message}}), {}};
}

Status parse_target(std::string_view target, Request& request) {
  const auto url = boost::urls::parse_origin_form(target);
  if (!url) return error(Errc::kMalformed, "target is not a path with an optional query");
  request.target = std::string(target);
  request.segments.clear();
  request.query.clear();
  for (const auto& segment : url->segments()) {
    if (!segment.empty()) request.segments.emplace_back(segment);
  }
  for (const auto& parameter : url->params()) {
    request.query.insert_or_assign(std::string(parameter.key), std::string(parameter.value));
  }
  return {};
}

}  // namespace decklog::http
