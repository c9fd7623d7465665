#include "services/mqtt/text.hpp"

#include <gtest/gtest.h>

#include <string>

namespace decklog::mqtt {
namespace {

using namespace std::string_literals;

TEST(MqttText, AcceptsWellFormedUtf8) {
  EXPECT_TRUE(valid_utf8(""));
  EXPECT_TRUE(valid_utf8("sensors/kitchen/temperature"));
  EXPECT_TRUE(valid_utf8("A\xF0\xAA\x9B\x94"));         // the standard's own example, U+2A6D4
  EXPECT_TRUE(valid_utf8("\xEF\xBB\xBF"));              // U+FEFF is never skipped [MQTT-1.5.3-3]
  EXPECT_TRUE(valid_utf8("\xED\x9F\xBF\xEE\x80\x80"));  // around the surrogates
  EXPECT_TRUE(valid_utf8("\xF4\x8F\xBF\xBF"));          // U+10FFFF
}

TEST(MqttText, RefusesWhatTheStandardForbids) {
  for (const auto& bad :
       {"\0"s, "12345678\0"s, "1234567\0"s, "\xED\xA0\x80"s, "\xED\xBF\xBF"s, "\xC0\x80"s, "\xC1\xBF"s,
        "\xE0\x80\x80"s, "\xF0\x80\x80\x80"s, "\xF4\x90\x80\x80"s, "\xF5\x80\x80\x80"s, "\x80"s, "\xC3"s,
        "\xE2\x82"s, "\xF0\x9F\x98"s, "\xFF"s, "ok\xC3("s}) {
    EXPECT_FALSE(valid_utf8(bad)) << testing::PrintToString(bad);
  }
}

TEST(MqttText, TopicNames) {
  EXPECT_TRUE(valid_topic_name("/"));
  EXPECT_TRUE(valid_topic_name("a//b/"));
  EXPECT_TRUE(valid_topic_name(" "));
  EXPECT_FALSE(valid_topic_name(""));
  EXPECT_FALSE(valid_topic_name("a/+"));
  EXPECT_FALSE(valid_topic_name("a#"));
  EXPECT_FALSE(valid_topic_name(std::string(65'536, 'a')));
}

TEST(MqttText, TopicFilters) {
  for (const auto* good :
       {"#", "+", "/", "sport/tennis/#", "+/tennis/#", "sport/+/player1", "/+", "a//+", "$SYS/#"}) {
    EXPECT_TRUE(valid_topic_filter(good)) << good;
  }
  for (const auto* bad :
       {"", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "+a/b", "#/", "##", "a/++", "a/#b"}) {
    EXPECT_FALSE(valid_topic_filter(bad)) << bad;
  }
}

struct MatchCase {
  const char* filter;
  const char* name;
  bool matches;
};

// Sections 4.7.1 to 4.7.3 of the standard, example by example.
TEST(MqttText, FilterMatches) {
  const MatchCase cases[] = {
      {"sport/tennis/player1/#", "sport/tennis/player1", true},
      {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
      {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
      {"sport/tennis/player1/#", "sport/tennis/player12", false},
      {"sport/#", "sport", true},
      {"sport/#", "sporty", false},
      {"#", "anything/at/all", true},
      {"sport/tennis/+", "sport/tennis/player1", true},
      {"sport/tennis/+", "sport/tennis/player1/ranking", false},
      {"sport/+", "sport", false},
      {"sport/+", "sport/", true},
      {"+/+", "/finance", true},
      {"/+", "/finance", true},
      {"+", "/finance", false},
      {"#", "$SYS/uptime", false},
      {"+/monitor/Clients", "$SYS/monitor/Clients", false},
      {"$SYS/#", "$SYS/uptime", true},
      {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
      {"ACCOUNTS", "Accounts", false},
      {"a", "/a", false},
      {"a/b", "a/b/", false},
      {"a/b/", "a/b", false},
      {"+/#", "a", true},
      {"a/+/#", "a", false},
      {"a/+/#", "a/", true},
  };
  for (const auto& c : cases)
    EXPECT_EQ(filter_matches(c.filter, c.name), c.matches) << c.filter << " ~ " << c.name;
}

}  // namespace
}  // namespace decklog::mqtt
