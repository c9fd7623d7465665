#include "services/workload/edge_ca.hpp"

#include <gmock/gmock.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "services/workload/private_file.hpp"
#include "services/workload/server_certificate.hpp"
#include "tests/services/http/http_fixture.hpp"

namespace decklog::workload {
namespace {

using http::TemporaryDirectory;
using std::chrono::hours;

constexpr WallTime kNow{1'795'000'000'000'000'000};  // 2026-11-18
WallTime after(WallTime time, Duration duration) {
  return {time.ns + duration.count()};
}

// OpenSSL's own chain building and purpose check, as a TLS client does it. Empty = good, else OpenSSL's
// reason.
std::string verify(const IssuedCertificate& issued, const std::string& trust, WallTime at,
                   const std::string& host, int purpose) {
  const auto read_all = [](const std::string& pem) {
    STACK_OF(X509)* all = sk_X509_new_null();
    BIO* in = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    while (X509* one = PEM_read_bio_X509(in, nullptr, nullptr, nullptr)) sk_X509_push(all, one);
    BIO_free(in);
    return all;
  };
  STACK_OF(X509)* chain = read_all(issued.certificate_pem);
  STACK_OF(X509)* anchors = read_all(trust);
  X509_STORE* store = X509_STORE_new();
  for (int i = 0; i < sk_X509_num(anchors); ++i) X509_STORE_add_cert(store, sk_X509_value(anchors, i));
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, sk_X509_value(chain, 0), chain);
  X509_STORE_CTX_set_purpose(context, purpose);
  X509_STORE_CTX_set_time(context, 0, at.ns / 1'000'000'000);
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context), X509_V_FLAG_X509_STRICT);
  std::string reason;
  if (X509_verify_cert(context) != 1)
    reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
  if (reason.empty() && !host.empty() &&
      X509_check_host(sk_X509_value(chain, 0), host.c_str(), 0, 0, nullptr) != 1 &&
      X509_check_ip_asc(sk_X509_value(chain, 0), host.c_str(), 0) != 1) {
    reason = "host name";
  }
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  sk_X509_pop_free(chain, X509_free);
  sk_X509_pop_free(anchors, X509_free);
  return reason;
}

std::string put(const TemporaryDirectory& directory, const std::string& name, const std::string& text) {
  const std::string path = directory.path() + "/" + name;
  EXPECT_TRUE(write_private_file(path, text, IfExists::kReplace));
  return path;
}

TEST(EdgeCa, IsMadeOnceAndItsKeyIsPrivate) {
  TemporaryDirectory directory;
  const auto made = EdgeCa::open(directory.path(), std::nullopt, kNow);
  ASSERT_TRUE(made) << describe(made.error());
  EXPECT_EQ(made->origin(), EdgeCa::Origin::kCreated);
  struct stat info {};
  ASSERT_EQ(::stat((directory.path() + "/edge-ca.key.pem").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto again = EdgeCa::open(directory.path(), std::nullopt, kNow);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->origin(), EdgeCa::Origin::kLoaded);
  EXPECT_EQ(again->trust_bundle_pem(), made->trust_bundle_pem());
}

TEST(EdgeCa, APowerCutBetweenItsTwoFilesIsHealedAndALostKeyIsSaid) {
  TemporaryDirectory directory;
  ASSERT_TRUE(EdgeCa::open(directory.path(), std::nullopt, kNow));
  ASSERT_TRUE(std::filesystem::remove(directory.path() + "/edge-ca.pem"));
  const auto healed = EdgeCa::open(directory.path(), std::nullopt, kNow);
  ASSERT_TRUE(healed);
  EXPECT_EQ(healed->origin(), EdgeCa::Origin::kCreated);
  ASSERT_TRUE(std::filesystem::remove(directory.path() + "/edge-ca.key.pem"));
  const auto lost = EdgeCa::open(directory.path(), std::nullopt, kNow);
  ASSERT_FALSE(lost);
  EXPECT_THAT(lost.error().where, testing::HasSubstr("edge-ca.key.pem"));
}

TEST(EdgeCa, ServerCertificatesVerifyByNameAndAddress) {
  TemporaryDirectory directory;
  const auto ca = EdgeCa::open(directory.path(), std::nullopt, kNow).value();
  const auto issued =
      ca.issue({CertificateUse::kServer, "gateway.lan", {"gateway.lan", "192.168.1.5", "fe80::1"}}, kNow);
  ASSERT_TRUE(issued) << describe(issued.error());
  for (const char* host : {"gateway.lan", "192.168.1.5", "fe80::1"}) {
    EXPECT_EQ(verify(*issued, ca.trust_bundle_pem(), kNow, host, X509_PURPOSE_SSL_SERVER), "") << host;
  }
  EXPECT_EQ(verify(*issued, ca.trust_bundle_pem(), kNow, "other.lan", X509_PURPOSE_SSL_SERVER), "host name");
  EXPECT_NE(verify(*issued, ca.trust_bundle_pem(), kNow, "", X509_PURPOSE_SSL_CLIENT), "");
  EXPECT_NE(verify(*issued, ca.trust_bundle_pem(), after(kNow, hours(24 * 91)), "", X509_PURPOSE_SSL_SERVER),
            "");
  const auto client = ca.issue({CertificateUse::kClient, "sensor", {"sensor"}}, kNow).value();
  EXPECT_EQ(verify(client, ca.trust_bundle_pem(), kNow, "", X509_PURPOSE_SSL_CLIENT), "");
  EXPECT_NE(verify(client, ca.trust_bundle_pem(), kNow, "", X509_PURPOSE_SSL_SERVER), "");
}

TEST(EdgeCa, WorksBeforeTheClockIsSetAndAfter) {
  TemporaryDirectory directory;
  const WallTime unset{3'600'000'000'000};  // an hour after 1970
  const auto ca = EdgeCa::open(directory.path(), std::nullopt, unset).value();
  auto certificate = ServerCertificate::open(directory.path() + "/hub.pem", {"gw"}, ca, unset).value();
  EXPECT_EQ(verify(certificate.current(), ca.trust_bundle_pem(), unset, "gw", X509_PURPOSE_SSL_SERVER), "");
  EXPECT_FALSE(certificate.renew_if_due(ca, after(unset, hours(24 * 365 * 50))).value())
      << "50 years, still unset";
  EXPECT_TRUE(certificate.renew_if_due(ca, kNow).value());
  EXPECT_EQ(verify(certificate.current(), ca.trust_bundle_pem(), kNow, "gw", X509_PURPOSE_SSL_SERVER), "");
  EXPECT_FALSE(certificate.renew_if_due(ca, kNow).value());
}

TEST(EdgeCa, RefusesNamesThatAreNone) {
  TemporaryDirectory directory;
  const auto ca = EdgeCa::open(directory.path(), std::nullopt, kNow).value();
  const std::vector<std::vector<std::string>> bad = {
      {}, {""}, {"a b"}, {std::string("a\0b", 3)}, {std::string(300, 'a')}, {"h\xc3\xb6st"}};
  for (const auto& names : bad) {
    EXPECT_EQ(ca.issue({CertificateUse::kServer, "x", names}, kNow).error().code, Errc::kInvalidArgument);
  }
  // A comma is a character of this name, not the begin of another one.
  const auto odd = ca.issue({CertificateUse::kServer, "x", {"a,DNS:gateway.lan"}}, kNow);
  ASSERT_TRUE(odd);
  EXPECT_EQ(verify(*odd, ca.trust_bundle_pem(), kNow, "gateway.lan", X509_PURPOSE_SSL_SERVER), "host name");
}

TEST(ServerCertificate, IsKeptRenewedAtFourFifthsAndOneFile) {
  TemporaryDirectory directory;
  const auto ca = EdgeCa::open(directory.path(), std::nullopt, kNow).value();
  const std::string file = directory.path() + "/hub.pem";
  std::vector<WallTime> renewed;
  const auto note = [&](const IssuedCertificate& made) { renewed.push_back(made.not_after); };
  auto first = ServerCertificate::open(file, {"gw", "10.0.0.1"}, ca, kNow, note).value();
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(read_private_file(file, 100000).value(),
            first.current().private_key_pem + first.current().certificate_pem);

  auto again = ServerCertificate::open(file, {"gw", "10.0.0.1"}, ca, kNow, note).value();
  EXPECT_EQ(again.current().certificate_pem, first.current().certificate_pem);
  EXPECT_EQ(again.next_renewal(), first.next_renewal());
  EXPECT_FALSE(again.renew_if_due(ca, after(again.next_renewal(), -std::chrono::seconds(1))).value());
  EXPECT_TRUE(renewed.empty());
  EXPECT_TRUE(again.renew_if_due(ca, again.next_renewal()).value());
  EXPECT_EQ(renewed.size(), 1u);
  EXPECT_NE(again.current().certificate_pem, first.current().certificate_pem);
  // Rounds down to days of a 91 day life (one of them backdated).
  EXPECT_GT((first.next_renewal().ns - kNow.ns) / 1'000'000'000 / 86400, 70);
  EXPECT_LT((first.next_renewal().ns - kNow.ns) / 1'000'000'000 / 86400, 73);
}

TEST(ServerCertificate, OtherNamesAnotherCaOrDamageMeanANewOne) {
  TemporaryDirectory directory, other_directory;
  const auto ca = EdgeCa::open(directory.path(), std::nullopt, kNow).value();
  const auto other = EdgeCa::open(other_directory.path(), std::nullopt, kNow).value();
  const std::string file = directory.path() + "/hub.pem";
  const auto open = [&](const EdgeCa& issuer, const std::string& name) {
    return ServerCertificate::open(file, {name}, issuer, kNow).value().current().certificate_pem;
  };
  const std::string first = open(ca, "gw");
  EXPECT_EQ(open(ca, "gw"), first);
  const std::string second = open(ca, "gw2");
  EXPECT_NE(second, first);
  const std::string third = open(other, "gw2");
  EXPECT_NE(third, second);
  ASSERT_TRUE(write_private_file(file, third.substr(0, 300), IfExists::kReplace));
  EXPECT_NE(open(other, "gw2"), third);
}

TEST(EdgeCa, TheUsersOwnNeedsAMatchingKeyAndARoot) {
  TemporaryDirectory directory, scratch;
  ASSERT_TRUE(EdgeCa::open(directory.path(), std::nullopt, kNow));
  const std::string certificate = directory.path() + "/edge-ca.pem",
                    key = directory.path() + "/edge-ca.key.pem";
  const auto mine = EdgeCa::open(scratch.path(), UserCa{certificate, key, ""}, kNow);
  ASSERT_TRUE(mine) << describe(mine.error());
  EXPECT_EQ(mine->origin(), EdgeCa::Origin::kUser);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
  const auto issued = mine->issue({CertificateUse::kServer, "gw", {"gw"}}, kNow).value();
  EXPECT_EQ(verify(issued, mine->trust_bundle_pem(), kNow, "gw", X509_PURPOSE_SSL_SERVER), "");

  const auto refused = [&](const UserCa& user) { return EdgeCa::open(scratch.path(), user, kNow).error(); };
  ASSERT_TRUE(EdgeCa::open(scratch.path(), std::nullopt, kNow));
  EXPECT_EQ(refused({certificate, scratch.path() + "/edge-ca.key.pem", ""}).code, Errc::kInvalidArgument);
  EXPECT_EQ(refused({directory.path() + "/none.pem", key, ""}).code, Errc::kNotFound);
  EXPECT_EQ(refused({put(directory, "garbage.pem", "garbage"), key, ""}).code, Errc::kInvalidArgument);
  EXPECT_EQ(refused({certificate, put(directory, "bad.key", "garbage"), ""}).where,
            directory.path() + "/bad.key");
  // A leaf is no CA.
  const auto leaf = put(directory, "leaf.pem", issued.certificate_pem);
  EXPECT_THAT(refused({leaf, put(directory, "leaf.key", issued.private_key_pem), ""}).message,
              testing::HasSubstr("not a CA"));
}

// Root and intermediate as a person makes them with the openssl tool.
TEST(EdgeCa, AnIntermediateOfTheUsersIsSentAlongAndItsRootIsTrusted) {
  TemporaryDirectory directory, scratch;
  const std::string commands =
      "cd " + directory.path() +
      " && openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=root -days "
      "3650 -addext keyUsage=critical,keyCertSign"
      " && openssl req -newkey rsa:2048 -nodes -keyout mid.key -out mid.csr -subj /CN=mid"
      " && printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\n' > "
      "ext"
      " && openssl x509 -req -in mid.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile ext -days "
      "1000 -out mid.pem";
  ASSERT_EQ(std::system(("( " + commands + " ) > " + directory.path() + "/log 2>&1").c_str()), 0)
      << read_private_file(directory.path() + "/log", 100'000).value();
  const UserCa user{directory.path() + "/mid.pem", directory.path() + "/mid.key",
                    directory.path() + "/root.pem"};
  const WallTime now{static_cast<std::int64_t>(::time(nullptr)) * 1'000'000'000};
  const auto ca = EdgeCa::open(scratch.path(), user, now);
  ASSERT_TRUE(ca) << describe(ca.error());
  const auto issued = ca->issue({CertificateUse::kServer, "gw", {"gw"}}, now).value();
  EXPECT_EQ(verify(issued, ca->trust_bundle_pem(), now, "gw", X509_PURPOSE_SSL_SERVER), "");
  EXPECT_EQ(ca->trust_bundle_pem(), read_private_file(directory.path() + "/root.pem", 100'000).value());
  // Never longer than the CA itself, and nothing at all after it.
  const auto late =
      ca->issue({CertificateUse::kServer, "gw", {"gw"}}, after(ca->not_after(), -hours(24))).value();
  EXPECT_EQ(late.not_after, ca->not_after());
  EXPECT_EQ(ca->issue({CertificateUse::kServer, "gw", {"gw"}}, after(ca->not_after(), hours(1))).error().code,
            Errc::kUnavailable);
  const auto alone =
      EdgeCa::open(scratch.path(), UserCa{user.certificate_file, user.private_key_file, ""}, now);
  ASSERT_FALSE(alone);
  EXPECT_THAT(alone.error().message, testing::HasSubstr("self-signed root"));
}

}  // namespace
}  // namespace decklog::workload
