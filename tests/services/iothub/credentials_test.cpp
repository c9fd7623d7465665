#include "services/iothub/credentials.hpp"

#include <gtest/gtest.h>

#include <string>

namespace decklog::iothub {
namespace {

const std::string kKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const std::string kOtherKey = "HxAeHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";
constexpr std::int64_t kExpiry = 1795442492;

WallTime at(std::int64_t seconds) {
  return {seconds * 1'000'000'000};
}

// Cause of the refusal, or "" when the token is good.
std::string check(const std::string& token, const ClientName& client,
                  const std::vector<std::string>& keys = {kKey}, std::int64_t now = kExpiry - 1) {
  const auto parsed = parse_sas_token(token);
  if (!parsed) return parsed.error().message;
  const auto good = check_sas_token(*parsed, client, keys, {{"hub.example.net", "gateway.local"}, at(now)});
  if (good) return "";
  EXPECT_EQ(good.error().code, Errc::kUnauthenticated);
  return good.error().message;
}

std::string token_for(const std::string& resource, const std::string& key = kKey) {
  return make_sas_token(resource, key, kExpiry);
}

const ClientName kDevice{"edge-1", ""}, kModule{"edge-1", "m 1"};

// ---- who a client says it is

TEST(ConnectName, AsTheSdkSendsIt) {
  const auto name = parse_connect_name(
      "edge-1/sensor",
      "hub.example.net/edge-1/sensor/"
      "?api-version=2021-04-12&model-id=dtmi:x;1&DeviceClientType=azure-iot-device%2F1.18.4");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->client, (ClientName{"edge-1", "sensor"}));
  EXPECT_EQ(name->host, "hub.example.net");
  EXPECT_EQ(name->api_version, "2021-04-12");
  EXPECT_EQ(name->model_id, "dtmi:x;1");
}

TEST(ConnectName, OlderForms) {
  EXPECT_TRUE(parse_connect_name("d", "h/d/?api-version=2016-11-14"));
  EXPECT_TRUE(parse_connect_name("d", "h/d/api-version=2016-11-14&DeviceClientType=c"));
  EXPECT_TRUE(parse_connect_name("d/m", "h/d/m/DeviceClientType=c&api-version=1"));
}

TEST(ConnectName, BothNamesMustAgree) {
  for (const char* user :
       {"", "h", "h/", "/d/?api-version=1", "h/d", "h/e/?api-version=1", "h/dd/?api-version=1", "h/d/",
        "h/d/?", "h/d/?DeviceClientType=x", "h/d/?api-version="})
    EXPECT_FALSE(parse_connect_name("d", user)) << user;
  EXPECT_FALSE(parse_connect_name("d/m", "h/d/?api-version=1"));
  EXPECT_FALSE(parse_connect_name("d/m", "h/d/n/?api-version=1"));
}

TEST(ConnectName, IdsThatCouldEscapeTheirPlaceAreRefused) {
  for (const std::string id :
       {"", "/", "d/", "/m", "d/m/n", "d#", "+", "d/+", "a\nb", "a\x7F", "d\xC3\xA9", "a b\x01"})
    EXPECT_FALSE(parse_connect_name(id, "h/" + id + "/?api-version=1")) << id;
  EXPECT_TRUE(parse_connect_name("a-b.c%d_e*f?g!h(i),:=@$'", "h/a-b.c%d_e*f?g!h(i),:=@$'/?api-version=1"));
  EXPECT_TRUE(parse_connect_name(std::string(128, 'x'), "h/" + std::string(128, 'x') + "/?api-version=1"));
  EXPECT_FALSE(parse_connect_name(std::string(129, 'x'), "h/" + std::string(129, 'x') + "/?api-version=1"));
}

// ---- whether its token proves it

TEST(SasToken, AVectorComputedElsewhere) {
  // HMAC-SHA256 over the resource exactly as sent, the SDK's lower-case escapes included.
  const std::string token =
      "SharedAccessSignature sr=hub.example.net%2Fdevices%2Fd%2a%281%29%2Fmodules%2Fm%20%211"
      "&sig=UF%2B9TETJiXoGot3VM5NUuXZGBdRqT2ABEEvo0Q4rFzo%3D&se=1795442492";
  EXPECT_EQ(check(token, {"d*(1)", "m !1"}), "");
}

TEST(SasToken, FieldsInAnyOrderRawBase64AndUnknownOnesAreFine) {
  const auto good = parse_sas_token(token_for("hub.example.net/devices/edge-1"));
  ASSERT_TRUE(good);
  EXPECT_EQ(check("SharedAccessSignature se=1795442492&skn=device&new=1&sig=" + good->signature +
                      "&sr=hub.example.net%2Fdevices%2Fedge-1",
                  kDevice),
            "");
}

TEST(SasToken, HostIgnoresCaseAndMayBeTheGateways) {
  EXPECT_EQ(check(token_for("HUB.Example.NET/devices/edge-1"), kDevice), "");
  EXPECT_EQ(check(token_for("gateway.local/devices/edge-1"), kDevice), "");
  EXPECT_EQ(check(token_for("evil.example.net/devices/edge-1"), kDevice), "wrong-resource");
  EXPECT_EQ(check(token_for("hub.example.net.evil/devices/edge-1"), kDevice), "wrong-resource");
}

TEST(SasToken, IsForOneIdentityOnly) {
  EXPECT_EQ(check(token_for("hub.example.net/devices/edge-1/modules/m 1"), kModule), "");
  EXPECT_EQ(check(token_for("hub.example.net/devices/edge-1/modules/m%201"), kModule), "");  // encoded twice
  EXPECT_EQ(check(token_for("hub.example.net/devices/edge-1"), kModule), "");                // its device's
  for (const char* resource : {"hub.example.net/devices/edge-1/modules/m 1", "hub.example.net/devices/edge-2",
                               "hub.example.net/devices/edge-", "hub.example.net/devices/edge-1/",
                               "hub.example.net", "hub.example.net/", "/devices/edge-1",
                               "hub.example.net/devices/edge-1/messages", "hub.example.net/devices/EDGE-1"})
    EXPECT_EQ(check(token_for(resource), kDevice), "wrong-resource") << resource;
  EXPECT_EQ(check(token_for("hub.example.net/devices/edge-1/modules/other"), kModule), "wrong-resource");
}

TEST(SasToken, IdsWithPercentSignsAreNotDecodedTwice) {
  EXPECT_EQ(check("SharedAccessSignature sr=hub.example.net%2Fdevices%2Fa%2541&sig="
                  "KG6bG9v9Ld9gB9fdlZ8Ajkxe8bLsGcnxhbHYHUxzdW4%3D&se=1795442492",
                  {"a%41", ""}),
            "");
  EXPECT_EQ(check(token_for("hub.example.net/devices/50%"), {"50%", ""}), "");
}

TEST(SasToken, AnyOfTheKeysWillDoAndNoOther) {
  const std::string token = token_for("hub.example.net/devices/edge-1");
  EXPECT_EQ(check(token, kDevice, {kOtherKey, kKey}), "");
  EXPECT_EQ(check(token, kDevice, {kOtherKey}), "bad-signature");
  EXPECT_EQ(check(token, kDevice, {}), "bad-signature");
  EXPECT_EQ(check(token, kDevice, {"", "not base64", kKey + "="}), "bad-signature");
}

TEST(SasToken, AnEmptyKeySignsForNobody) {
  EXPECT_EQ(check(token_for("hub.example.net/devices/edge-1", ""), kDevice, {""}), "bad-signature");
}

TEST(SasToken, EveryBitOfWhatIsSignedCounts) {
  const std::string token = token_for("hub.example.net/devices/edge-1");
  EXPECT_EQ(check(token + "0", kDevice), "bad-signature");  // ten times later
  std::string other = token;
  other.replace(other.find("%2F"), 3, "%2f");
  EXPECT_EQ(check(other, kDevice), "bad-signature");  // means the same, was not signed
}

TEST(SasToken, Expires) {
  const std::string token = token_for("hub.example.net/devices/edge-1");
  EXPECT_EQ(check(token, kDevice, {kKey}, kExpiry - 1), "");
  EXPECT_EQ(check(token, kDevice, {kKey}, kExpiry), "expired");
  EXPECT_EQ(check(make_sas_token("hub.example.net/devices/edge-1", kKey, -1), kDevice), "expired");
}

TEST(SasToken, WhatIsNotOneIsSaidToBeNone) {
  for (const std::string bad :
       {"", "password", "sharedaccesssignature sr=a&sig=b&se=1", "SharedAccessSignature",
        "SharedAccessSignature ", "SharedAccessSignature sr", "SharedAccessSignature sr=a&sig=b",
        "SharedAccessSignature sr=a&se=1", "SharedAccessSignature sig=b&se=1",
        "SharedAccessSignature sr=a&sig=b&se=", "SharedAccessSignature sr=a&sig=b&se=1x",
        "SharedAccessSignature sr=a&sig=b&se= 1", "SharedAccessSignature sr=a&sig=b&se=99999999999999999999",
        "SharedAccessSignature sr=%zz&sig=b&se=1", "SharedAccessSignature sr=%FF&sig=b&se=1"}) {
    const auto parsed = parse_sas_token(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code, Errc::kUnauthenticated) << bad;
  }
  EXPECT_FALSE(parse_sas_token("SharedAccessSignature sr=a&sig=b&se=1&x=" + std::string(4096, 'x')));
}

TEST(SasToken, ARefusalNeverQuotesTheToken) {
  for (const std::string secret : {"SharedAccessSignature sr=a&sig=SECRETSECRET", "SECRETSECRET"}) {
    const auto parsed = parse_sas_token(secret);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(describe(parsed.error()).find("SECRET"), std::string::npos);
  }
}

}  // namespace
}  // namespace decklog::iothub
