// The two calls of the agent's workload API that a module needs, over its unix socket. Failure:
// std::runtime_error with the agent's own words.
#pragma once

#include <string>

namespace edge {

// POST body, or GET when it is empty; the JSON member `field` of the answer.
std::string ask_workload(const std::string& socket, const std::string& target, const std::string& body,
                         const std::string& field);

std::string to_base64(const std::string& bytes);
// Everything but letters, digits and -_.~ as %XX, as SAS tokens and property bags want it.
std::string percent_encoded(const std::string& text);
std::string percent_decoded(const std::string& text);

}  // namespace edge
