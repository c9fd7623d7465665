// Who may use which topic outside IoT Hub's: [hub.topics], first match wins, no match is a refusal. Pure;
// private to services/hub.
#pragma once

#include <string_view>
#include <vector>

#include "services/config/config.hpp"

namespace decklog::hub {

inline constexpr std::string_view kAnonymous = "anonymous";
inline constexpr std::string_view kUserPrefix = "user:";

// A client that is no IoT Hub identity: a local user or nobody.
inline bool is_local(std::string_view identity) {
  return identity == kAnonymous || identity.starts_with(kUserPrefix);
}

// Whether everything that `wanted` selects is selected by `rule` too.
bool filter_covers(std::string_view rule, std::string_view wanted);
bool may_publish(const std::vector<config::TopicRule>& rules, std::string_view identity,
                 std::string_view topic);
bool may_subscribe(const std::vector<config::TopicRule>& rules, std::string_view identity,
                   std::string_view filter);

}  // namespace decklog::hub
