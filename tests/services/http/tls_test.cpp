// The TLS listener, spoken to with OpenSSL's own blocking client.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <openssl/ssl.h>

#include "services/workload/edge_ca.hpp"
#include "tests/services/http/http_fixture.hpp"

namespace decklog::http {
namespace {

using testing::HasSubstr;

std::string write_file(const TemporaryDirectory& directory, const std::string& name,
                       const std::string& text) {
  const std::string path = directory.path() + "/" + name;
  FILE* file = std::fopen(path.c_str(), "w");
  EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return path;
}

// One request over TLS with the server name checked; the answer's text or "<refused>".
std::string ask(std::uint16_t port, const std::string& ca_file, const std::string& client_file,
                int max_version = TLS1_3_VERSION) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, max_version);
  SSL_CTX_load_verify_file(context, ca_file.c_str());
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (!client_file.empty()) {
    SSL_CTX_use_certificate_chain_file(context, client_file.c_str());
    SSL_CTX_use_PrivateKey_file(context, client_file.c_str(), SSL_FILETYPE_PEM);
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const timeval patience{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  SSL_set1_host(ssl, "gateway.test");
  std::string answer = "<refused>";
  const std::string text = "GET /secure HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  if (SSL_connect(ssl) == 1 && SSL_write(ssl, text.data(), static_cast<int>(text.size())) > 0) {
    std::string got;
    char bytes[4096];
    for (int count = 0; (count = SSL_read(ssl, bytes, sizeof(bytes))) > 0;)
      got.append(bytes, static_cast<std::size_t>(count));
    if (!got.empty()) answer = got;
  }
  SSL_free(ssl);
  SSL_CTX_free(context);
  ::close(fd);
  return answer;
}

TEST(HttpTls, ServesVerifiesClientsAndReplacesItsCertificateInPlace) {
  TemporaryDirectory directory;
  std::filesystem::create_directory(directory.path() + "/other");
  // Both ends check by the real clock.
  const WallTime real{static_cast<std::int64_t>(::time(nullptr)) * 1'000'000'000};
  auto ca = workload::EdgeCa::open(directory.path(), std::nullopt, real).value();
  auto other = workload::EdgeCa::open(directory.path() + "/other", std::nullopt, real).value();
  const auto server_of = [&](const workload::EdgeCa& issuer, const std::string& client_ca) {
    auto issued =
        issuer.issue({workload::CertificateUse::kServer, "gateway.test", {"gateway.test"}}, real).value();
    return TlsSettings{issued.certificate_pem, issued.private_key_pem, client_ca};
  };
  Loop loop;
  std::unique_ptr<Server> server;
  std::uint16_t port = 0;
  loop.call([&] {
    server =
        std::make_unique<Server>(loop.executor(), ServerLimits{}, [](Request request, Responder responder) {
          responder.send(
              {200,
               "text/plain",
               request.target + (request.peer.certificate_pem.empty() ? " anonymous" : " certified"),
               {}});
        });
    port = server->listen_tls("127.0.0.1", 0, server_of(ca, ca.trust_bundle_pem())).value();
  });
  const std::string root = write_file(directory, "root.pem", ca.trust_bundle_pem());
  const std::string other_root = write_file(directory, "other.pem", other.trust_bundle_pem());
  const auto client_of = [&](const workload::EdgeCa& issuer, const std::string& name) {
    auto issued = issuer.issue({workload::CertificateUse::kClient, "sensor", {"sensor"}}, real).value();
    return write_file(directory, name, issued.private_key_pem + issued.certificate_pem);
  };
  EXPECT_THAT(ask(port, root, ""), HasSubstr("/secure anonymous"));
  EXPECT_THAT(ask(port, root, "", TLS1_2_VERSION), HasSubstr("/secure anonymous"));
  EXPECT_EQ(ask(port, root, "", TLS1_1_VERSION), "<refused>");
  EXPECT_THAT(ask(port, root, client_of(ca, "good.pem")), HasSubstr("/secure certified"));
  EXPECT_EQ(ask(port, root, client_of(other, "bad.pem")), "<refused>");
  EXPECT_EQ(ask(port, other_root, ""), "<refused>");

  loop.call([&] {
    const auto replaced = server->replace_tls(server_of(other, ""));
    EXPECT_TRUE(replaced) << describe(replaced.error());
    EXPECT_FALSE(server->replace_tls({"garbage", "garbage", ""}));
  });
  EXPECT_THAT(ask(port, other_root, ""), HasSubstr("/secure anonymous"));
  EXPECT_EQ(ask(port, root, ""), "<refused>");
  loop.call([&] { server.reset(); });
}

}  // namespace
}  // namespace decklog::http
