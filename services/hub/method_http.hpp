// Method calls between modules by HTTPS: POST /twins/{device}[/modules/{module}]/methods, as the SDKs'
// invokeMethod sends them. Private to services/hub. Pure: answers, and what to call.
#pragma once

#include <functional>
#include <string_view>
#include <variant>

#include "services/broker/policy.hpp"
#include "services/hub/methods.hpp"

namespace decklog::hub {

// An answer at once: 400 bad caller header or body, 401 caller is no module of this device or did not prove
// it, 404 no such path, 405. Or a call, whose outcome method_http_answer() tells.
using MethodHttp = std::variant<broker::HttpAnswer, MethodRequest>;
MethodHttp read_method_http(const broker::HttpRequest& request, const std::string& device,
                            const std::function<Status(const Identity&, std::string_view token)>& check);
broker::HttpAnswer method_http_answer(const MethodOutcome& outcome);

}  // namespace decklog::hub
