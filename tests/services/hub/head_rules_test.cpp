// [hub.topics] where the clients of other tests do not reach: first match wins, wildcards against wildcards.
#include "services/hub/head_rules.hpp"

#include <gtest/gtest.h>

namespace decklog::hub {
namespace {

using Rules = std::vector<config::TopicRule>;

config::TopicRule rule(const char* client, const char* filter, bool publish, bool subscribe) {
  config::TopicRule made;
  made.client = client;
  made.filter = filter;
  made.publish = publish;
  made.subscribe = subscribe;
  return made;
}

TEST(HeadRules, NothingIsAllowedByDefault) {
  EXPECT_FALSE(may_publish({}, "edge-1/sensor", "a"));
  EXPECT_FALSE(may_subscribe({}, "user:panel", "a"));
}

TEST(HeadRules, TheFirstRuleThatMatchesDecides) {
  const Rules rules{rule("sensor", "a/secret", false, false), rule("sensor", "a/#", true, true),
                    rule("sensor", "a/late", false, false)};
  EXPECT_FALSE(may_publish(rules, "sensor", "a/secret"));
  EXPECT_TRUE(may_publish(rules, "sensor", "a/late"));  // decided before
  EXPECT_TRUE(may_publish(rules, "sensor", "a"));       // "a/#" is "a" too
  EXPECT_FALSE(may_publish(rules, "sensor", "b"));
  EXPECT_FALSE(may_publish(rules, "other", "a/x"));
}

TEST(HeadRules, WhoARuleIsAbout) {
  const Rules everybody{rule("*", "t", true, true)};
  EXPECT_TRUE(may_publish(everybody, "edge-1/sensor", "t"));
  EXPECT_TRUE(may_publish(everybody, "user:panel", "t"));
  EXPECT_FALSE(may_publish(everybody, "anonymous", "t"));  // a rule must name it
  EXPECT_TRUE(may_publish({rule("anonymous", "t", true, false)}, "anonymous", "t"));
  EXPECT_TRUE(may_publish({rule("panel", "t", true, false)}, "user:panel", "t"));
  EXPECT_TRUE(may_publish({rule("user:panel", "t", true, false)}, "user:panel", "t"));
  // A user is not the device of the same name, but a rule for that name is for both.
  EXPECT_TRUE(may_publish({rule("panel", "t", true, false)}, "panel", "t"));
  EXPECT_FALSE(may_publish({rule("user:panel", "t", true, false)}, "panel", "t"));
}

TEST(HeadRules, AFilterMustLieWithinTheRule) {
  const std::tuple<const char*, const char*, bool> cases[] = {
      {"a/#", "a", true},         {"a/#", "a/b/c", true},  {"a/#", "a/#", true},    {"a/#", "a/+/c", true},
      {"a/#", "+/b", false},      {"a/#", "#", false},     {"a/+", "a/b", true},    {"a/+", "a/+", true},
      {"a/+", "a/#", false},      {"a/+", "a", false},     {"a/+", "a/b/c", false}, {"a/b", "a/+", false},
      {"#", "a/b", true},         {"#", "#", true},        {"#", "$SYS/x", false},  {"+/x", "$SYS/x", false},
      {"$SYS/#", "$SYS/x", true}, {"+", "", true},         {"+/+", "/", true},      {"a/+/#", "a", false},
      {"a/+/#", "a/b", true},     {"a", "A", false},       {"+", "+/+", false},     {"a//b", "a//b", true},
      {"a/+/b", "a//b", true},    {"a//b", "a/+/b", false}};
  for (const auto& [allowed, wanted, covers] : cases)
    EXPECT_EQ(filter_covers(allowed, wanted), covers) << allowed << " covers " << wanted;
}

TEST(HeadRules, AFilterThatWouldHearWhatIsKeptBackIsRefused) {
  const Rules rules{rule("*", "plant/+/secret", false, false), rule("*", "plant/#", true, true)};
  EXPECT_TRUE(may_subscribe(rules, "x", "plant/1/open"));
  EXPECT_FALSE(may_subscribe(rules, "x", "plant/1/secret"));
  EXPECT_FALSE(may_subscribe(rules, "x", "plant/1/+"));
  EXPECT_FALSE(may_subscribe(rules, "x", "plant/#"));
  EXPECT_FALSE(may_subscribe(rules, "x", "plant/1/#"));
  EXPECT_FALSE(may_subscribe(rules, "x", "+/+/secret"));
  EXPECT_TRUE(may_subscribe(rules, "x", "plant/1/secret/deeper"));
  EXPECT_TRUE(may_subscribe(rules, "x", "plant/+"));  // two levels: not what is kept back
  // What one may publish one may not therefore hear.
  EXPECT_FALSE(may_subscribe({rule("*", "t", true, false)}, "x", "t"));
}

TEST(HeadRules, LocalClientsAreNoIdentities) {
  EXPECT_TRUE(is_local("anonymous"));
  EXPECT_TRUE(is_local("user:edge-1"));
  EXPECT_FALSE(is_local("edge-1"));
  EXPECT_FALSE(is_local("edge-1/user:x"));
  EXPECT_FALSE(is_local(""));
}

}  // namespace
}  // namespace decklog::hub
