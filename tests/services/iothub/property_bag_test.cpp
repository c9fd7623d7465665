#include "services/iothub/property_bag.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>

namespace decklog::iothub {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

// What JavaScript's encodeURIComponent lets through: the SDK's own encoding.
std::string as_the_sdk_encodes(std::string_view text) {
  static constexpr std::string_view kKept =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()";
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (kKept.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

Errc refusal(std::string_view bag) {
  const auto decoded = decode_bag(bag);
  return decoded ? Errc::kOk : decoded.error().code;
}

TEST(PropertyBag, EveryAsciiCharacterSurvivesTheWayOfAClientAndOurs) {
  for (int byte = 0; byte < 0x80; ++byte) {
    const std::string odd = "<" + std::string(1, static_cast<char>(byte)) + ">";
    const auto sent = decode_bag(as_the_sdk_encodes(odd) + "=" + as_the_sdk_encodes(odd));
    ASSERT_TRUE(sent) << byte;
    EXPECT_THAT(*sent, ElementsAre(Pair(odd, odd))) << byte;
    const std::string ours = encode_bag(*sent);
    EXPECT_EQ(decode_bag(ours).value(), *sent) << ours;
  }
}

TEST(PropertyBag, ReceiversThatSplitBeforeTheyDecodeSeeNothingToSplitAt) {
  const std::string bag = encode_bag({{"a/b=c&d?e#f+g", "\xC3\xA9\xF0\x9F\x9A\x80%zz\n!'()*"}});
  EXPECT_EQ(bag, "a%2Fb%3Dc%26d%3Fe%23f%2Bg=%C3%A9%F0%9F%9A%80%25zz%0A%21%27%28%29%2A");
}

TEST(PropertyBag, WhatTheSdkSends) {
  const auto bag = decode_bag("%24.on=output1&%24.mid=mid%201&%24.exp=2026-11-23T12%3A56%3A21.002Z&plain=v/");
  ASSERT_TRUE(bag);
  EXPECT_THAT(*bag, ElementsAre(Pair("$.on", "output1"), Pair("$.mid", "mid 1"),
                                Pair("$.exp", "2026-11-23T12:56:21.002Z"), Pair("plain", "v")));
}

TEST(PropertyBag, APlusIsAPlus) {
  EXPECT_THAT(decode_bag("a+b=c+d&e=%2B").value(), ElementsAre(Pair("a+b", "c+d"), Pair("e", "+")));
}

TEST(PropertyBag, OnlyTheFirstEqualSignSeparates) {
  EXPECT_THAT(decode_bag("a=b=c==").value(), ElementsAre(Pair("a", "b=c==")));
}

TEST(PropertyBag, RepeatedEmptyAndNamelessPropertiesAreKeptInOrder) {
  EXPECT_THAT(
      decode_bag("a=1&a=2&empty=&bare&=nameless").value(),
      ElementsAre(Pair("a", "1"), Pair("a", "2"), Pair("empty", ""), Pair("bare", ""), Pair("", "nameless")));
}

TEST(PropertyBag, FormsOfOtherClients) {
  EXPECT_THAT(decode_bag("").value(), IsEmpty());
  EXPECT_THAT(decode_bag("/").value(), IsEmpty());
  EXPECT_THAT(decode_bag("?").value(), IsEmpty());
  EXPECT_THAT(decode_bag("?a=1/").value(), ElementsAre(Pair("a", "1")));
  EXPECT_THAT(decode_bag("&&a=1&&b=2&").value(), ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_THAT(decode_bag("$.ct=application/json&x=a/b").value(),
              ElementsAre(Pair("$.ct", "application/json"), Pair("x", "a/b")));
  EXPECT_THAT(decode_bag("h=%c3%a9%C3%A9").value(), ElementsAre(Pair("h", "\xC3\xA9\xC3\xA9")));
}

TEST(PropertyBag, BadEscapesAreMalformedWherverTheyStand) {
  for (const char* bad : {"%", "a=%", "a=%4", "a=%zz", "%zz=a", "a=1&b=%G0", "a=%0", "a=%%41", "a=% 41"})
    EXPECT_EQ(refusal(bad), Errc::kMalformed) << bad;
}

TEST(PropertyBag, OnlyUtf8IsText) {
  for (const auto& bad : {"a=%FF"s, "a=%C3"s, "a=%C0%80"s, "a=%ED%A0%80"s, "a=%F4%90%80%80"s, "%80=a"s,
                          "a=\xC3("s, "a=%E2%82"s})
    EXPECT_EQ(refusal(bad), Errc::kMalformed) << bad;
  EXPECT_EQ(refusal("a=%F4%8F%BF%BF&b=%ED%9F%BF&c=%00"), Errc::kOk);
}

TEST(PropertyBag, IsBounded) {
  EXPECT_EQ(refusal("a=" + std::string(kMaxBagBytes - 2, 'x')), Errc::kOk);
  EXPECT_EQ(refusal("a=" + std::string(kMaxBagBytes - 1, 'x')), Errc::kTooLarge);
  std::string many;
  for (std::size_t i = 0; i < kMaxBagProperties; ++i) many += "k&";
  EXPECT_EQ(decode_bag(many).value().size(), kMaxBagProperties);
  EXPECT_EQ(refusal(many + "k"), Errc::kTooLarge);
}

// Code points as UTF-8; zero ends a text.
std::vector<std::string> texts_of(const std::vector<std::uint16_t>& points) {
  std::vector<std::string> texts(1);
  for (const std::uint32_t point : points) {
    std::string& out = texts.back();
    if (point == 0) {
      texts.emplace_back();
    } else if (point < 0x80) {
      out += static_cast<char>(point);
    } else if (point < 0x800) {
      out += {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
    } else if (point < 0xD800 || point > 0xDFFF) {
      out += {static_cast<char>(0xE0 | point >> 12), static_cast<char>(0x80 | (point >> 6 & 0x3F)),
              static_cast<char>(0x80 | (point & 0x3F))};
    }
  }
  return texts;
}

TEST(PropertyBag, WhatWeEncodeDecodesToTheSame) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint16_t>& points) {
    const auto texts = texts_of(points);
    Properties properties;
    for (std::size_t i = 0; i < texts.size(); ++i)
      properties.emplace_back(texts[i], texts[texts.size() - 1 - i]);
    const std::string bag = encode_bag(properties);
    RC_ASSERT(bag.find_first_of("/?#+ \\\"") == std::string::npos);
    RC_ASSERT(decode_bag(bag).value() == properties);
  }));
}

}  // namespace
}  // namespace decklog::iothub
