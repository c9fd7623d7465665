// Leaf devices of the official SDK that show a certificate: known by thumbprint or by who signed it, in date,
// and of their own name.
#include <fstream>

#include "services/workload/crypto.hpp"
#include "services/workload/edge_ca.hpp"
#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

using workload::EdgeCa;

constexpr std::int64_t kDay = 86'400'000'000'000;

WallTime days_from_now(std::int64_t days) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<Duration>(now).count() + days * kDay};
}

// Upper-case hex with colons, as OpenSSL prints it and people paste it.
std::string thumbprint(const std::string& certificate_pem) {
  const auto begin = certificate_pem.find('\n') + 1;
  std::string base64 = certificate_pem.substr(begin, certificate_pem.find("-----END") - begin);
  std::erase(base64, '\n');
  std::string text;
  for (const char c : workload::to_hex(workload::sha256(*workload::from_base64(base64)))) {
    if (text.size() % 3 == 2) text += ':';
    text += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return text;
}

class X509 : public testing::Test {
 protected:
  // Two authorities: the one the hub is told to trust for leaf devices, and one it has never heard of.
  X509() {
    hub_.put_routes(R"("up":"FROM /messages/* INTO $upstream")");
    hub_.start();
    hub_.routes_applied();
    puppet_.start();
  }
  void TearDown() override { hub_.conserved(); }

  static EdgeCa authority(const std::string& directory) {
    auto ca = EdgeCa::open(directory, std::nullopt, days_from_now(0));
    EXPECT_TRUE(ca) << describe(ca.error());
    return std::move(*ca);
  }
  // Valid from `day` on for one day; written to files, the PEM text returned.
  std::string issue(const EdgeCa& ca, const std::string& name, std::int64_t day = 0,
                    const std::string& uri = {}) {
    workload::CertificateRequest request;
    request.use = workload::CertificateUse::kClient;
    request.common_name = name;
    request.alt_names = {"leaf.example.net"};
    request.uri = uri;
    request.lifetime = std::chrono::hours(24);
    const auto issued = ca.issue(request, days_from_now(day));
    EXPECT_TRUE(issued) << describe(issued.error());
    std::ofstream(folder_.path("cert.pem")) << issued->certificate_pem;
    std::ofstream(folder_.path("key.pem")) << issued->private_key_pem;
    return issued->certificate_pem;
  }
  void enrol(const std::string& device, const json::object& authentication, const char* status = "enabled") {
    const json::object record{
        {"deviceId", device}, {"generationId", "1"}, {"status", status}, {"authentication", authentication}};
    ASSERT_TRUE(hub_.fleet().put_identity({device, {}}, json::serialize(record)));
  }
  static json::object by_thumbprint(const std::string& primary, const std::string& secondary = {}) {
    return {
        {"type", "selfSigned"},
        {"x509Thumbprint", json::object{{"primaryThumbprint", primary}, {"secondaryThumbprint", secondary}}}};
  }
  // The SDK leaves GatewayHostName out of account here: the hub is asked by the gateway's own name.
  Puppet::Answer open(const std::string& device, bool web_socket = false) {
    return puppet_.call("open", device,
                        {{"kind", "device"},
                         {"webSocket", web_socket},
                         {"connectionString", "HostName=localhost;DeviceId=" + device + ";x509=true"},
                         {"ca", hub_.ca_file()},
                         {"cert", folder_.path("cert.pem")},
                         {"key", folder_.path("key.pem")}});
  }
  void refused(const std::string& device, const std::string& cause) {
    const auto opened = open(device);
    EXPECT_EQ(opened.error, "UnauthorizedError") << cause;
    EXPECT_TRUE(eventually([&] { return hub_.get("/metrics").find(cause) != std::string::npos; })) << cause;
  }

  decklog::test::TempDir folder_, stranger_folder_;
  EdgeCa factory_ = authority(folder_.path()), stranger_ = authority(stranger_folder_.path());
  HubRig hub_{{.hub = "client_ca_file = \"" + folder_.path("edge-ca.pem") + "\"\n"}};
  Puppet puppet_{hub_.folder()};
};

TEST_F(X509, KnownByItsThumbprint) {
  const std::string second = thumbprint(issue(stranger_, "any-name"));
  const std::string first = thumbprint(issue(stranger_, "any-name"));
  enrol("leaf-1", by_thumbprint(first, second));
  auto opened = open("leaf-1");
  ASSERT_TRUE(opened.ok) << opened.message << hub_.log();
  ASSERT_TRUE(puppet_.call("send", "leaf-1", {{"body", "by certificate"}}).ok);
  EXPECT_EQ(hub_.wait_telemetry(1).at(0).device, "leaf-1");
  ASSERT_TRUE(puppet_.call("cloudMessages", "leaf-1").ok);
  // Another certificate takes its place upstream: out at once, and the old one opens no more.
  enrol("leaf-1", by_thumbprint(second));
  EXPECT_TRUE(eventually([&] { return hub_.client_state("leaf-1") != "connected"; }))
      << hub_.get("/v1/clients");
  refused("leaf-1", "wrong-certificate");
}

TEST_F(X509, KnownByWhoSignedIt) {
  enrol("leaf-1", {{"type", "certificateAuthority"}});
  issue(factory_, "leaf-1");
  const auto opened = open("leaf-1");
  ASSERT_TRUE(opened.ok) << opened.message << hub_.log();
  ASSERT_TRUE(puppet_.call("send", "leaf-1", {{"body", "signed"}}).ok);
  EXPECT_EQ(hub_.wait_telemetry(1).at(0).device, "leaf-1");
  ASSERT_TRUE(puppet_.call("close", "leaf-1").ok);
  EXPECT_TRUE(open("leaf-1", true).ok) << hub_.log();
  ASSERT_TRUE(puppet_.call("close", "leaf-1").ok);

  issue(factory_, "leaf-2");  // of another name
  refused("leaf-1", "wrong-certificate");
  issue(stranger_, "leaf-1");
  refused("leaf-1", "wrong-certificate");
  // What a module gets for itself makes it no device of its name.
  issue(factory_, "leaf-1", 0, "azureiot://hub/devices/edge-1/modules/leaf-1");
  refused("leaf-1", "wrong-certificate");
  issue(factory_, "leaf-1");
  enrol("leaf-1", {{"type", "certificateAuthority"}}, "disabled");
  EXPECT_TRUE(eventually([&] { return open("leaf-1").error == "UnauthorizedError"; }));
}

TEST_F(X509, OutOfDateIsRefusedWhoeverKnowsIt) {
  enrol("leaf-ca", {{"type", "certificateAuthority"}});
  for (const std::int64_t day : {-3, 3}) {
    const std::string cause = day < 0 ? "certificate-expired" : "certificate-not-yet-valid";
    issue(factory_, "leaf-ca", day);
    refused("leaf-ca", cause);
    const std::string device = "leaf" + std::to_string(day);
    enrol(device, by_thumbprint(thumbprint(issue(stranger_, device, day))));
    refused(device, cause);
  }
  issue(factory_, "leaf-ca");
  EXPECT_TRUE(open("leaf-ca").ok) << hub_.log();
}

// A record that knows keys takes no certificate, and the other way round.
TEST_F(X509, OneProofDoesNotStandForTheOther) {
  hub_.enrol("leaf-1");
  issue(factory_, "leaf-1");
  refused("leaf-1", "wrong-certificate");
  enrol("leaf-2", by_thumbprint(thumbprint(issue(stranger_, "leaf-2"))));
  EXPECT_EQ(puppet_.call("open", "leaf-2", hub_.client("leaf-2")).error, "UnauthorizedError");
  EXPECT_TRUE(open("leaf-2").ok) << hub_.log();
}

}  // namespace
}  // namespace decklog::hub::test
