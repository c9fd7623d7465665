#include "services/hub/head_rules.hpp"

#include "services/mqtt/text.hpp"

namespace decklog::hub {
namespace {

// "*" is any client that has shown who it is: not the anonymous ones, which a rule must name.
bool names(const config::TopicRule& rule, std::string_view identity) {
  if (rule.client == "*") return identity != kAnonymous;
  if (rule.client == identity) return true;
  return identity.starts_with(kUserPrefix) && rule.client == identity.substr(kUserPrefix.size());
}

std::string_view take_level(std::string_view& rest, bool& last) {
  const auto slash = rest.find('/');
  const auto level = rest.substr(0, slash);
  last = slash == std::string_view::npos;
  rest = last ? std::string_view() : rest.substr(slash + 1);
  return level;
}

// Whether some topic is selected by both.
bool filters_overlap(std::string_view a, std::string_view b) {
  bool a_last = false, b_last = false;
  while (true) {
    const auto one = take_level(a, a_last), other = take_level(b, b_last);
    if (one == "#" || other == "#") return true;
    if (one != "+" && other != "+" && one != other) return false;
    if (a_last || b_last) return (a_last && (b_last || b == "#")) || (b_last && a == "#");
  }
}

}  // namespace

bool filter_covers(std::string_view rule, std::string_view wanted) {
  // Wildcards never select what begins with '$' [MQTT-4.7.2-1].
  if (wanted.starts_with('$') && !rule.starts_with('$')) return false;
  bool rule_last = false, wanted_last = false;
  while (true) {
    const auto allowed = take_level(rule, rule_last);
    if (allowed == "#") return true;
    const auto level = take_level(wanted, wanted_last);
    if (level == "#" || (allowed != "+" && allowed != level)) return false;
    if (wanted_last) return rule_last || rule == "#";  // "a/#" selects "a" too
    if (rule_last) return false;
  }
}

bool may_publish(const std::vector<config::TopicRule>& rules, std::string_view identity,
                 std::string_view topic) {
  for (const auto& rule : rules) {
    if (names(rule, identity) && mqtt::filter_matches(rule.filter, topic)) return rule.publish;
  }
  return false;
}

// A filter wider than a rule that refuses would hear what that rule keeps back.
bool may_subscribe(const std::vector<config::TopicRule>& rules, std::string_view identity,
                   std::string_view filter) {
  for (const auto& rule : rules) {
    if (!names(rule, identity)) continue;
    if (filter_covers(rule.filter, filter)) return rule.subscribe;
    if (!rule.subscribe && filters_overlap(rule.filter, filter)) return false;
  }
  return false;
}

}  // namespace decklog::hub
