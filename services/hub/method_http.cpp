#include "services/hub/method_http.hpp"

#include <boost/json.hpp>
#include <optional>

namespace decklog::hub {

namespace json = boost::json;

namespace {

broker::HttpAnswer refuse(unsigned status, std::string_view message) {
  return {status, "application/json", json::serialize(json::object{{"message", message}})};
}

std::string_view header(const broker::HttpRequest& request, std::string_view name) {
  for (const auto& [known, value] : request.headers) {
    if (known == name) return value;
  }
  return {};
}

// Decoded segments of the path; nothing when one does not decode.
std::optional<std::vector<std::string>> segments(std::string_view target) {
  target = target.substr(0, target.find('?'));
  std::vector<std::string> parts;
  while (!target.empty()) {
    target.remove_prefix(1);  // '/'
    const auto end = target.find('/');
    auto part = iothub::percent_decode(target.substr(0, end));
    if (!part) return std::nullopt;
    parts.push_back(std::move(*part));
    target = end == std::string_view::npos ? std::string_view() : target.substr(end);
  }
  return parts;
}

std::optional<Identity> target_of(std::string_view target) {
  if (!target.starts_with('/')) return std::nullopt;
  const auto parts = segments(target);
  if (!parts || parts->size() < 3 || parts->front() != "twins" || parts->back() != "methods")
    return std::nullopt;
  if (parts->size() == 3) return Identity{(*parts)[1], {}};
  if (parts->size() == 5 && (*parts)[2] == "modules" && !(*parts)[3].empty())
    return Identity{(*parts)[1], (*parts)[3]};
  return std::nullopt;
}

// Absent: `otherwise`. Nothing when out of range or no whole number.
std::optional<Duration> seconds(const json::object& body, const char* name, std::int64_t least,
                                Duration otherwise) {
  const auto* found = body.if_contains(name);
  if (!found || found->is_null()) return otherwise;
  if (!found->is_int64()) return std::nullopt;
  const std::chrono::seconds value(found->get_int64());
  if (value.count() < least || value > kMethodTimeoutMax) return std::nullopt;
  return Duration(value);
}

}  // namespace

MethodHttp read_method_http(const broker::HttpRequest& request, const std::string& device,
                            const std::function<Status(const Identity&, std::string_view token)>& check) {
  auto target = target_of(request.target);
  if (!target) return refuse(404, "no such resource");
  if (request.method != "POST") return refuse(405, "only POST");
  const auto named = header(request, "x-ms-edge-moduleid");
  const auto slash = named.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == named.size() ||
      named.find('/', slash + 1) != std::string_view::npos)
    return refuse(400, "x-ms-edge-moduleId must be <device>/<module>");
  const Identity caller{std::string(named.substr(0, slash)), std::string(named.substr(slash + 1))};
  if (caller.device != device) return refuse(401, "the caller is no module of this device");
  const auto token = header(request, "authorization");
  if (token.empty()) return refuse(401, "no Authorization");
  if (const auto good = check(caller, token); !good) return refuse(401, good.error().message);

  json::error_code failed;
  const auto value = json::parse(request.body, failed);
  if (failed || !value.is_object()) return refuse(400, "the body is not a JSON object");
  const auto& body = value.get_object();
  const auto* name = body.if_contains("methodName");
  if (!name || !name->is_string()) return refuse(400, "methodName is missing");
  MethodRequest call;
  call.from = caller.client_id();
  call.target = std::move(*target);
  call.name = name->get_string();
  if (const auto* payload = body.if_contains("payload")) call.payload = json::serialize(*payload);
  const auto connect = seconds(body, "connectTimeoutInSeconds", 0, Duration::zero());
  if (!connect) return refuse(400, "connectTimeoutInSeconds must be 0 to 300");
  const auto response = seconds(body, "responseTimeoutInSeconds", 1, kMethodTimeout);
  if (!response) return refuse(400, "responseTimeoutInSeconds must be 1 to 300");
  call.connect_timeout = *connect;
  call.response_timeout = *response;
  return call;
}

broker::HttpAnswer method_http_answer(const MethodOutcome& outcome) {
  if (outcome.failure != 0) return {outcome.failure, "application/json", outcome.payload};
  return {200, "application/json",
          "{\"status\":" + std::to_string(outcome.status) + ",\"payload\":" + outcome.payload + "}"};
}

}  // namespace decklog::hub
