#include "services/iothub/twin_rules.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <functional>
#include <string>

namespace decklog::iothub {
namespace {

namespace json = boost::json;

json::object object(std::string_view text) {
  return json::parse(text).as_object();
}

// "" when taken; else what is wrong, its path first.
std::string refusal(std::string_view patch) {
  const auto parsed = parse_reported_patch(patch);
  return parsed ? "" : describe(parsed.error());
}

std::string nested(int levels) {
  std::string text = "1";
  for (int i = 0; i < levels; ++i) text = "{\"l\":" + text + "}";
  return text;
}

TEST(TwinRules, OrdinaryPatchesAreTaken) {
  for (const char* good : {"{}", R"({"a":1,"b":"x","c":true,"d":null,"e":{"f":[1,"2",{"g":2.5}]}})",
                           R"({"ключ":"значение","a-b_c!/":"$.#"})", " {\"a\" : 1} "})
    EXPECT_EQ(refusal(good), "") << good;
}

TEST(TwinRules, OnlyAnObjectIsAPatch) {
  for (const char* bad :
       {"", "null", "[]", "1", "\"a\"", "{", "{\"a\":1}x", "{a:1}", "{'a':1}", "{\"a\":NaN}", "{\"a\":01}"})
    EXPECT_NE(refusal(bad), "") << bad;
}

TEST(TwinRules, NamesOfProperties) {
  for (const char* bad : {R"({"":1})", R"({"a.b":1})", R"({"$version":1})", R"({"a$":1})", R"({"a b":1})",
                          R"({"a#":1})", "{\"a\\u0001\":1}", "{\"a\\tb\":1}", "{\"a\\u007f\":1}",
                          R"({"x":{"a.b":1}})", R"({"x":[{"a.b":1}]})"})
    EXPECT_NE(refusal(bad), "") << bad;
  EXPECT_EQ(refusal("{\"" + std::string(1024, 'k') + "\":1}"), "");
  EXPECT_NE(refusal("{\"" + std::string(1025, 'k') + "\":1}"), "");
  EXPECT_NE(refusal(R"({"x":{"bad name":1}})").find("reported.x.bad name"), std::string::npos);
}

TEST(TwinRules, TextsAreBounded) {
  EXPECT_EQ(refusal("{\"a\":\"" + std::string(4096, 'x') + "\"}"), "");
  EXPECT_NE(refusal("{\"a\":\"" + std::string(4097, 'x') + "\"}"), "");
  EXPECT_NE(refusal("{\"a\":[\"" + std::string(4097, 'x') + "\"]}"), "");
}

TEST(TwinRules, IntegersStayWithinWhatADoubleHolds) {
  EXPECT_EQ(refusal(R"({"a":4503599627370495,"b":-4503599627370496})"), "");
  for (const char* bad :
       {R"({"a":4503599627370496})", R"({"a":-4503599627370497})", R"({"a":18446744073709551615})",
        R"({"a":{"b":[9007199254740993]}})", R"({"a":1e400})", R"({"a":[-1e309]})"})
    EXPECT_NE(refusal(bad), "") << bad;
}

TEST(TwinRules, NoNullInArrays) {
  EXPECT_NE(refusal(R"({"a":[null]})"), "");
  EXPECT_NE(refusal(R"({"a":[[1,null]]})"), "");
}

// The platform's own example of what is allowed nests ten objects and puts a value into the tenth.
TEST(TwinRules, TenLevels) {
  EXPECT_EQ(refusal(nested(11)), "");
  EXPECT_NE(refusal(nested(12)), "");
  EXPECT_NE(refusal(R"({"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}"), "");
}

TEST(TwinRules, SizeCountsNamesAndValuesNotPunctuation) {
  EXPECT_EQ(twin_size(object(R"({"abc":"de","n":1.5,"b":true,"o":{"k":[1,2]},"$version":7,"z":null})")),
            3u + 2 + 1 + 8 + 1 + 4 + 1 + 1 + 16 + 1);
  EXPECT_EQ(twin_size(object(R"({"é":"€"})")), 2u + 3);
}

std::string of_size(std::size_t bytes) {
  std::string text = "{";
  for (int i = 0; bytes > 0; ++i) {
    const std::size_t value = std::min<std::size_t>(bytes - 2, 4000);
    text += (i == 0 ? "\"" : ",\"") + std::to_string(10 + i) + "\":\"" + std::string(value, 'x') + "\"";
    bytes -= value + 2;
  }
  return text + "}";
}

TEST(TwinRules, ThirtyTwoKilobytes) {
  const std::string full = of_size(kMaxTwinBytes);
  ASSERT_EQ(twin_size(json::parse(full)), kMaxTwinBytes);
  EXPECT_EQ(refusal(full), "");
  const auto over = parse_reported_patch(of_size(kMaxTwinBytes + 1));
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, Errc::kTooLarge);
}

// A patch that is small by itself may make a document that is not.
TEST(TwinRules, TheMergedDocumentIsWhatCounts) {
  json::object document = object(of_size(kMaxTwinBytes));
  const auto patch = parse_reported_patch(R"({"one":"more"})");
  ASSERT_TRUE(patch);
  merge_patch(document, *patch);
  const auto judged = check_twin_part(document);
  ASSERT_FALSE(judged);
  EXPECT_EQ(judged.error().code, Errc::kTooLarge);
  merge_patch(document, object(R"({"10":null})"));
  EXPECT_TRUE(check_twin_part(document));
}

TEST(TwinRules, MergePatch) {
  // RFC 7396, appendix A, the cases with an object as target and patch.
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", R"({})"},
      {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
      {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}};
  for (const auto& [before, patch, after] : cases) {
    json::object document = object(before);
    merge_patch(document, object(patch));
    EXPECT_EQ(document, object(after)) << before << " + " << patch;
  }
}

TEST(TwinRules, PatchesThatWaitKeepTheirDeletions) {
  json::object pending = object(R"({"a":1,"o":{"x":1,"y":2}})");
  merge_pending(pending, object(R"({"a":null,"o":{"x":null},"new":3})"));
  EXPECT_EQ(pending, object(R"({"a":null,"o":{"x":null,"y":2},"new":3})"));
}

// A member that was deleted and made anew has nothing of what it was upstream.
TEST(TwinRules, PatchesThatWaitRememberThatTheyReplaced) {
  for (const char* first : {R"({"a":null})", R"({"a":5})", R"({"a":[1]})"}) {
    json::object pending;
    merge_pending(pending, object(first));
    merge_pending(pending, object(R"({"a":{"new":1,"none":null}})"));
    merge_pending(pending, object(R"({"a":{"more":{"x":1}},"b":{"c":null}})"));
    json::object document = object(R"({"a":{"old":1,"more":{"y":2}},"b":{"c":1,"d":2}})");
    apply_pending(document, pending);
    EXPECT_EQ(document, object(R"({"a":{"new":1,"more":{"x":1}},"b":{"d":2}})")) << first;
  }
}

TEST(TwinRules, AnswersAreWhatSdksRead) {
  EXPECT_EQ(json::parse(twin_answer(object(R"({"a":1})"), 4, object(R"({"b":2})"), 9)),
            json::parse(R"({"desired":{"a":1,"$version":4},"reported":{"b":2,"$version":9}})"));
  const auto failed = json::parse(twin_error(429, "slow \"down\"")).as_object();
  EXPECT_EQ(failed.at("errorCode"), 429001);
  EXPECT_EQ(failed.at("message"), "slow \"down\"");
  EXPECT_EQ(without_metadata(object(R"({"$version":1,"a":{"$lastUpdated":1},"$metadata":{}})")),
            object(R"({"a":{"$lastUpdated":1}})"));
}

// ---- laws

// A document without nulls, made of a list of choices.
json::object document_of(const std::vector<std::uint8_t>& choices, std::size_t& next, int depth = 0) {
  json::object made;
  while (next < choices.size()) {
    const std::uint8_t choice = choices[next++];
    if (choice % 8 == 0) break;
    json::value& value = made[std::string(1, static_cast<char>('a' + choice / 8 % 4))];
    switch (choice % 8) {
      case 1:
      case 2:
        value = choice / 64;
        break;
      case 3:
        value = json::array{choice / 64};
        break;
      case 4:
        value = "text";
        break;
      default:
        value = depth < 4 ? json::value(document_of(choices, next, depth + 1)) : json::value(true);
    }
  }
  return made;
}

TEST(TwinRules, TheDifferenceLeadsFromOneDocumentToTheOther) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
    std::size_t at_a = 0, at_b = 0;
    json::object from = document_of(a, at_a);
    const json::object to = document_of(b, at_b);
    const json::object patch = difference(from, to);
    RC_ASSERT(difference(from, from).empty());
    merge_patch(from, patch);
    RC_ASSERT(from == to);
  }));
}

// As a client may send it: some members null, at any depth.
json::object patch_of(const std::vector<std::uint8_t>& choices) {
  std::size_t at = 0;
  json::object patch = document_of(choices, at);
  const std::function<void(json::object&)> hollow = [&](json::object& object) {
    for (auto& member : object) {
      if (at < choices.size() && choices[at++] % 3 == 0) member.value() = nullptr;
      if (member.value().is_object()) hollow(member.value().get_object());
    }
  };
  at = choices.size() / 2;
  hollow(patch);
  return patch;
}

TEST(TwinRules, PatchesKeptAsOneDoWhatEachInTurnDoes) {
  EXPECT_TRUE(rc::check(
      [](const std::vector<std::uint8_t>& start, const std::vector<std::vector<std::uint8_t>>& patches) {
        std::size_t at = 0;
        json::object in_turn = document_of(start, at);
        json::object at_once = in_turn, pending;
        for (const auto& choices : patches) {
          const json::object patch = patch_of(choices);
          merge_patch(in_turn, patch);
          merge_pending(pending, patch);
        }
        apply_pending(at_once, pending);
        RC_ASSERT(at_once == in_turn);
      }));
}

TEST(TwinRules, NoPatchMakesADocumentWithNulls) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
    std::size_t at_a = 0, at_b = 0;
    json::object document = document_of(a, at_a);
    const json::object patch = difference(document_of(b, at_b), {});
    merge_patch(document, json::object{{"n", patch}});
    RC_ASSERT(json::serialize(document).find("null") == std::string::npos);
  }));
}

}  // namespace
}  // namespace decklog::iothub
