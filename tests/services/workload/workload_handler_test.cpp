#include "services/workload/workload_handler.hpp"

#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "tests/services/http/http_fixture.hpp"

namespace decklog::workload {
namespace {

namespace json = boost::json;
constexpr WallTime kNow{1'795'000'000'000'000'000};

class Workload : public testing::Test {
 protected:
  http::Response call(const std::string& method, const std::string& target, const std::string& body = "",
                      const char* caller = "sensor") {
    http::Request request;
    const auto parsed = http::parse_target(target, request);
    EXPECT_TRUE(parsed) << target;
    request.method = method;
    request.body = body;
    auto response = handler_.handle(ModuleName(caller), request, kNow);
    EXPECT_EQ(response.content_type, "application/json") << target;
    boost::system::error_code failure;
    const auto value = json::parse(response.body, failure);
    EXPECT_FALSE(failure) << response.body;
    EXPECT_EQ(response.status >= 300, value.is_object() && value.as_object().contains("message"))
        << response.body;
    return response;
  }
  std::string own(const std::string& rest, const char* version = "2018-06-28") {
    return "/modules/sensor/genid/" + sensor_.generation_id + "/" + rest + "?api-version=" + version;
  }
  static std::string member(const http::Response& response, const char* name) {
    return std::string(json::parse(response.body).at(name).as_string());
  }

  http::TemporaryDirectory directory_;
  DeviceKeys keys_{std::string(32, 'k')};
  IdentityService identities_ = IdentityService::open(directory_.path() + "/identities", keys_).value();
  EdgeCa ca_ = EdgeCa::open(directory_.path(), std::nullopt, kNow).value();
  ModuleIdentity sensor_ = identities_.ensure(ModuleName("sensor")).value();
  ModuleIdentity hub_ = identities_.ensure(ModuleName("edgeHub")).value();
  WorkloadHandler handler_{
      {{"dev 1", "hub.example.net", "gw.lan", ""}, {"gw.lan", "10.0.0.1"}}, keys_, identities_, ca_, [] {
        return std::vector<ModuleListItem>{{"sensor", "process", "running", "up", kNow},
                                           {"x", "docker", "stopped", "", {}}};
      }};
};

TEST_F(Workload, SignsWithEitherKeyInEveryVersion) {
  const std::string data = "hub.example.net%2Fdevices%2Fd\n1795000000";
  for (const char* version :
       {"2018-06-28", "2019-01-30", "2019-10-22", "2019-11-05", "2020-07-07", "2021-12-07", "2022-08-03"}) {
    const auto answer = call("POST", own("sign", version),
                             R"({"keyId":"primary","algo":"HMACSHA256","data":")" + to_base64(data) + "\"}");
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(member(answer, "digest"),
              to_base64(hmac_sha256(from_base64(sensor_.keys.primary).value(), data)));
  }
  const auto second = call("POST", own("sign"), R"({"keyId":"secondary","algo":"hmacsha256","data":"AA=="})");
  EXPECT_EQ(member(second, "digest"),
            to_base64(hmac_sha256(from_base64(sensor_.keys.secondary).value(), std::string(1, '\0'))));
}

TEST_F(Workload, MalformedAndForeignRequestsGetTheirStatus) {
  const std::string good = R"({"keyId":"primary","algo":"HMACSHA256","data":"AA=="})";
  const struct {
    int status;
    std::string method, target, body;
  } cases[] = {
      {400, "POST", own("sign"), ""},
      {400, "POST", own("sign"), "{"},
      {400, "POST", own("sign"), "[]"},
      {400, "POST", own("sign"), std::string(10'000, '[')},
      {400, "POST", own("sign"), R"({"keyId":"primary","algo":"HMACSHA256"})"},
      {400, "POST", own("sign"), R"({"keyId":"primary","algo":"HMACSHA256","data":"%%"})"},
      {400, "POST", own("sign"), R"({"keyId":"primary","algo":"HMACSHA256","data":7})"},
      {400, "POST", own("sign"), R"({"keyId":"third","algo":"HMACSHA256","data":"AA=="})"},
      {400, "POST", own("sign"), R"({"keyId":"primary","algo":"MD5","data":"AA=="})"},
      {400, "POST", "/modules/sensor/genid/" + sensor_.generation_id + "/sign", good},
      {400, "POST", own("sign", "2017-01-01"), good},
      {405, "GET", own("sign"), ""},
      {405, "POST", "/trust-bundle?api-version=2018-06-28", ""},
      {404, "POST", "/modules/sensor/genid/0/sign?api-version=2018-06-28", good},
      {403, "POST", "/modules/other/genid/" + sensor_.generation_id + "/sign?api-version=2018-06-28", good},
      {403, "POST", "/modules/%24edgeHub/genid/" + hub_.generation_id + "/sign?api-version=2018-06-28", good},
      {404, "POST", own("explode"), good},
      {404, "GET", "/nothing?api-version=2018-06-28", ""},
      {404, "GET", "/manifest-trust-bundle?api-version=2018-06-28", ""},
      {400, "POST", own("decrypt"), R"({"ciphertext":"AAAA","initializationVector":"AAAA"})"},
      {400, "POST", own("encrypt"), R"({"plaintext":"AAAA"})"},
      {400, "POST", own("certificate/server"), R"({"commonName":"","expiration":null})"},
      {400, "POST", own("certificate/server"), R"({"commonName":"a","expiration":"tomorrow"})"},
      {400, "POST", own("certificate/server"), R"({"commonName":"a","expiration":"2001-01-01T00:00:00Z"})"},
      {400, "POST", own("certificate/server"), R"({"commonName":"a b"})"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(call(one.method, one.target, one.body).status, one.status)
        << one.method << " " << one.target << " " << one.body.substr(0, 80);
  }
  EXPECT_EQ(call("POST", own("sign"), good, "stranger").status, 404);
}

TEST_F(Workload, EncryptsForThisModuleGenerationAndVector) {
  const auto sealed =
      member(call("POST", own("encrypt"), R"({"plaintext":"aGVsbG8=","initializationVector":"AQID"})"),
             "ciphertext");
  const auto opened =
      call("POST", own("decrypt"), R"({"ciphertext":")" + sealed + R"(","initializationVector":"AQID"})");
  ASSERT_EQ(opened.status, 200) << opened.body;
  EXPECT_EQ(member(opened, "plaintext"), "aGVsbG8=");
  EXPECT_EQ(
      call("POST", own("decrypt"), R"({"ciphertext":")" + sealed + R"(","initializationVector":"AQIE"})")
          .status,
      400);
  ASSERT_TRUE(identities_.remove(ModuleName("sensor")));
  sensor_ = identities_.ensure(ModuleName("sensor")).value();
  EXPECT_EQ(
      call("POST", own("decrypt"), R"({"ciphertext":")" + sealed + R"(","initializationVector":"AQID"})")
          .status,
      400);
}

TEST_F(Workload, CertifiesServersButOnlyTheHubForTheGatewaysName) {
  const auto answer = call("POST", own("certificate/server"),
                           R"({"commonName":"sensor.lan","expiration":"2099-01-01T00:00:00Z"})");
  ASSERT_EQ(answer.status, 201) << answer.body;
  const auto value = json::parse(answer.body);
  EXPECT_EQ(value.at("privateKey").at("type"), "key");
  EXPECT_THAT(std::string(value.at("privateKey").at("bytes").as_string()),
              testing::StartsWith("-----BEGIN PRIVATE KEY-----"));
  const auto expiration = parse_rfc3339(value.at("expiration").as_string()).value();
  EXPECT_EQ(expiration.ns, kNow.ns + kCertificateLifetime.count()) << "capped";
  for (const char* name : {"gw.lan", "GW.LAN", "gw.lan.", "10.0.0.1", "*.lan", "*", "$edgeHub"}) {
    EXPECT_EQ(
        call("POST", own("certificate/server"), json::serialize(json::object{{"commonName", name}})).status,
        403)
        << name;
  }
  const std::string hub =
      "/modules/$edgeHub/genid/" + hub_.generation_id + "/certificate/server?api-version=2019-01-30";
  EXPECT_EQ(call("POST", hub, R"({"commonName":"gw.lan"})", "edgeHub").status, 201);
  EXPECT_EQ(call("POST", "/modules/sensor/certificate/identity?api-version=2019-01-30", "").status, 201);
  EXPECT_EQ(call("POST", "/modules/sensor/certificate/identity?api-version=2019-01-30",
                 R"({"expiration":"2026-12-01T00:00:00Z"})")
                .status,
            201);
}

TEST_F(Workload, TellsTheTrustBundleAndTheModules) {
  EXPECT_EQ(member(call("GET", "/trust-bundle?api-version=2018-06-28"), "certificate"),
            ca_.trust_bundle_pem());
  const auto list = json::parse(call("GET", "/modules?api-version=2018-06-28").body).at("modules").as_array();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].at("status").at("runtimeStatus").at("status"), "running");
  EXPECT_FALSE(list[1].at("status").as_object().contains("startTime"));
}

TEST_F(Workload, EnvironmentIsWhatSdksRead) {
  const DeviceNames device{"dev 1", "hub.example.net", "gw.lan", ""};
  const auto process = module_environment(device, ModuleName("sensor"), sensor_,
                                          "/run/d/sensor/workload.sock", Inside::kProcess);
  EXPECT_THAT(
      process.variables,
      testing::UnorderedElementsAre(
          testing::Pair("IOTEDGE_WORKLOADURI", "unix:///run/d/sensor/workload.sock"),
          testing::Pair("IOTEDGE_AUTHSCHEME", "sasToken"),
          testing::Pair("IOTEDGE_MODULEGENERATIONID", sensor_.generation_id),
          testing::Pair("IOTEDGE_IOTHUBHOSTNAME", "hub.example.net"),
          testing::Pair("IOTEDGE_GATEWAYHOSTNAME", "gw.lan"), testing::Pair("IOTEDGE_DEVICEID", "dev 1"),
          testing::Pair("IOTEDGE_MODULEID", "sensor"), testing::Pair("IOTEDGE_APIVERSION", "2021-12-07")));
  EXPECT_TRUE(process.mount_source.empty());
  const auto container = module_environment({"d", "h", "gw", "parent"}, ModuleName("edgeHub"), hub_,
                                            "/run/d/edgeHub/workload.sock", Inside::kContainer);
  EXPECT_EQ(container.mount_source, "/run/d/edgeHub");
  EXPECT_EQ(container.variables.at("IOTEDGE_WORKLOADURI"),
            "unix://" + container.mount_target + "/workload.sock");
  EXPECT_EQ(container.variables.at("IOTEDGE_MODULEID"), "$edgeHub");
  EXPECT_EQ(container.variables.at("IOTEDGE_GATEWAYHOSTNAME"), "parent");
  EXPECT_EQ(container.variables.at("EdgeDeviceHostName"), "gw");
}

}  // namespace
}  // namespace decklog::workload
