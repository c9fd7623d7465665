#include "services/uplink/names.hpp"

#include <gtest/gtest.h>

namespace decklog::uplink {
namespace {

TEST(Names, EscapingIsOneToOneAndSafe) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  for (const std::string& id :
       {std::string("edge-1"), std::string("a.b"), std::string("a=2Eb"), std::string("_agent"),
        std::string("$edgeHub"), std::string("a/../b"), std::string(".."), std::string("*"), all}) {
    const std::string token = escape_token(id);
    EXPECT_EQ(token.find_first_of(". */>\\$"), std::string::npos) << token;
    const auto back = unescape_token(token);
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, id);
  }
  EXPECT_EQ(escape_token("edge-1_x"), "edge-1_x");
  EXPECT_EQ(escape_token("a.b=c"), "a=2Eb=3Dc");
  EXPECT_EQ(escape_token("_agent"), "=5Fagent");
}

TEST(Names, MalformedTokensAreRefused) {
  for (const char* token : {"=", "=4", "=XY", "a=2"}) EXPECT_FALSE(unescape_token(token)) << token;
  EXPECT_FALSE(module_of("_other"));
  EXPECT_FALSE(module_of(""));
}

TEST(Names, ModulesWithAMeaningCannotBeImitated) {
  EXPECT_EQ(module_token(""), "_device");
  EXPECT_EQ(module_token("$edgeAgent"), "_agent");
  EXPECT_EQ(module_token("$edgeHub"), "_hub");
  for (const char* module : {"", "$edgeAgent", "$edgeHub", "_device", "_agent", "sensor", "$other", "a b"}) {
    const auto back = module_of(module_token(module));
    ASSERT_TRUE(back) << module;
    EXPECT_EQ(*back, module);
  }
}

TEST(Names, SubjectsFindTheirKeysAgain) {
  for (const TwinKey& key : {TwinKey{"edge.1", ""}, TwinKey{"edge-1", "$edgeAgent"}, TwinKey{"d", "a.b c"}}) {
    for (const TwinPart part : {TwinPart::kDesired, TwinPart::kReported}) {
      const auto back = key_of_twin_subject(twin_subject(key, part));
      ASSERT_TRUE(back);
      EXPECT_EQ(*back, key);
    }
    const auto identity = key_of_identity_subject(identity_subject(key));
    ASSERT_TRUE(identity);
    EXPECT_EQ(*identity, key);
  }
  EXPECT_EQ(twin_subject({"edge.1", "$edgeHub"}, TwinPart::kDesired),
            "$KV.decklog_twins.edge=2E1._hub.desired");
  EXPECT_EQ(identity_subject({"edge-1", ""}), "$KV.decklog_identities.edge-1");
  EXPECT_FALSE(key_of_twin_subject("$KV.decklog_twins.a"));
  EXPECT_FALSE(key_of_identity_subject("$KV.other.a"));
}

TEST(Names, TelemetryAndMessageIds) {
  Telemetry message;
  message.device = "leaf 1";
  EXPECT_EQ(telemetry_subject(message), "decklog.telemetry.leaf=201._._");
  message.module = "sensor";
  message.output = "out.1";
  EXPECT_EQ(telemetry_subject(message), "decklog.telemetry.leaf=201.sensor.out=2E1");
  EXPECT_EQ(telemetry_id("edge-1", 3, 44), "edge-1/3/44");
  EXPECT_NE(event_id("edge-1", {1, 1, "agent", ""}), event_id("edge-1", {1, 1, "hub", ""}));
}

TEST(Names, PercentCodingSurvivesEveryByte) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  const std::string encoded = percent_encode(all);
  EXPECT_EQ(encoded.find_first_of("\r\n=& :"), std::string::npos);
  const auto back = percent_decode(encoded);
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, all);
}

TEST(Names, KeysAreChecked) {
  EXPECT_TRUE(check_key({"d", ""}));
  EXPECT_FALSE(check_key({"", "m"}));
  EXPECT_FALSE(check_key({std::string(kMaxIdBytes + 1, 'd'), ""}));
  EXPECT_FALSE(check_key({"d", std::string(kMaxIdBytes + 1, 'm')}));
}

}  // namespace
}  // namespace decklog::uplink
