// TLS and WebSocket listeners, each with its own bytes on the wire.
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include "tests/services/broker/broker_fixture.hpp"

namespace decklog::broker::test {
namespace {

using namespace std::string_literals;
using mqtt::PacketType;

std::string drain(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

// A self-signed certificate; also its own CA.
TlsMaterial make_material(const char* name) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  auto* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1,
                             -1, 0);
  X509_set_issuer_name(certificate, subject);
  X509_sign(certificate, key, EVP_sha256());
  TlsMaterial material;
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  material.certificate_chain_pem = drain(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  material.private_key_pem = drain(bio);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return material;
}

class TlsClient final {
 public:
  TlsClient(std::uint16_t port, int version, const TlsMaterial* own = nullptr) : socket_(port) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context_, version);
    SSL_CTX_set_max_proto_version(context_, version);
    if (own != nullptr) {
      BIO* bio = BIO_new_mem_buf(own->certificate_chain_pem.data(), -1);
      X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
      SSL_CTX_use_certificate(context_, certificate);
      X509_free(certificate);
      BIO_free(bio);
      bio = BIO_new_mem_buf(own->private_key_pem.data(), -1);
      EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
      SSL_CTX_use_PrivateKey(context_, key);
      EVP_PKEY_free(key);
      BIO_free(bio);
    }
    session_ = SSL_new(context_);
    SSL_set_fd(session_, socket_.descriptor());
    connected_ = SSL_connect(session_) == 1;
    ERR_clear_error();
  }
  ~TlsClient() {
    SSL_free(session_);
    SSL_CTX_free(context_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool is_connected() const { return connected_; }
  void send(const std::string& bytes) {
    ASSERT_EQ(SSL_write(session_, bytes.data(), static_cast<int>(bytes.size())),
              static_cast<int>(bytes.size()));
  }
  std::string read(std::size_t size) {
    std::string bytes(size, '\0');
    std::size_t have = 0;
    while (have < size) {
      const int n = SSL_read(session_, bytes.data() + have, static_cast<int>(size - have));
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    bytes.resize(have);
    return bytes;
  }
  // The peer said close_notify, not just FIN.
  bool ends_cleanly() {
    char byte;
    const int n = SSL_read(session_, &byte, 1);
    return n == 0 && SSL_get_error(session_, n) == SSL_ERROR_ZERO_RETURN;
  }
  std::string server_name() {
    X509* peer = SSL_get1_peer_certificate(session_);
    char name[100] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, name, sizeof name);
    X509_free(peer);
    return name;
  }

 private:
  MqttClient socket_;
  SSL_CTX* context_ = nullptr;
  SSL* session_ = nullptr;
  bool connected_ = false;
};

const std::string kConnect = "\x10\x0D\0\4MQTT\4\2\0\0\0\1x"s;
const std::string kAccepted = "\x20\x02\0\0"s;

class SecureTest : public BrokerTest {
 protected:
  void start_tls(Transport transport = Transport::kTls) {
    material_ = make_material("server-one");
    auto made = TlsContext::make(material_);
    ASSERT_TRUE(made) << describe(made.error());
    context_tls_ = *made;
    BrokerOptions options;
    options.listeners.push_back({"secure", transport, "127.0.0.1", 0, context_tls_});
    start(options);
  }
  TlsMaterial material_;
  std::shared_ptr<TlsContext> context_tls_;
};

TEST_F(SecureTest, BothVersionsServe) {
  start_tls();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient c(port_, version);
    ASSERT_TRUE(c.is_connected());
    c.send(kConnect + "\x82\6\0\1\0\1a\0"s);
    EXPECT_EQ(c.read(4), kAccepted);
    EXPECT_EQ(c.read(5), "\x90\3\0\1\0"s);
    // Larger than a TLS record in both directions.
    const std::string payload(100'000, 'x');
    std::string bytes;
    mqtt::PublishPacket packet;
    packet.topic = "a";
    packet.payload = payload;
    mqtt::append_publish(bytes, packet);
    c.send(bytes);
    EXPECT_EQ(c.read(bytes.size()), bytes);
    c.send("\xE0\0"s);
    EXPECT_TRUE(c.ends_cleanly());
  }
  EXPECT_EQ(policy_.last_connect().transport, Transport::kTls);
}

TEST_F(SecureTest, OldVersionsAndGarbageAreRefused) {
  start_tls();
  EXPECT_FALSE(TlsClient(port_, TLS1_1_VERSION).is_connected());
  MqttClient plain(port_);
  plain.send(kConnect);
  plain.shutdown_write();
  plain.closes_gracefully();
  EXPECT_TRUE(eventually([&] { return stats().connections == 0; }));
  TlsClient c(port_, TLS1_3_VERSION);
  c.send(kConnect);
  EXPECT_EQ(c.read(4), kAccepted);
}

TEST_F(SecureTest, CertificatesAreReplacedWithoutARestart) {
  start_tls();
  TlsClient before(port_, TLS1_3_VERSION);
  EXPECT_EQ(before.server_name(), "server-one");
  on_executor([&] {
    EXPECT_FALSE(context_tls_->reload({"rubbish", "rubbish", "", true}));
    EXPECT_TRUE(context_tls_->reload(make_material("server-two")));
  });
  TlsClient after(port_, TLS1_3_VERSION);
  EXPECT_EQ(after.server_name(), "server-two");
  before.send(kConnect);
  EXPECT_EQ(before.read(4), kAccepted);
}

TEST_F(SecureTest, KeyMustFitTheCertificate) {
  auto mixed = make_material("a");
  mixed.private_key_pem = make_material("b").private_key_pem;
  EXPECT_FALSE(TlsContext::make(mixed));
}

TEST_F(SecureTest, ClientCertificatesAreShownToThePolicy) {
  start_tls();
  const auto own = make_material("device-7");
  {
    TlsClient c(port_, TLS1_3_VERSION, &own);
    c.send(kConnect);
    EXPECT_EQ(c.read(4), kAccepted);
  }
  auto seen = policy_.last_connect().certificate;
  EXPECT_EQ(seen.subject_common_name, "device-7");
  EXPECT_EQ(seen.sha1_thumbprint.size(), 40u);
  EXPECT_EQ(seen.sha256_thumbprint.size(), 64u);
  EXPECT_FALSE(seen.chain_verified);
  on_executor([&] {
    auto trusting = material_;
    trusting.client_ca_pem = own.certificate_chain_pem;
    EXPECT_TRUE(context_tls_->reload(trusting));
  });
  TlsClient c(port_, TLS1_2_VERSION, &own);
  c.send(kConnect);
  EXPECT_EQ(c.read(4), kAccepted);
  EXPECT_TRUE(policy_.last_connect().certificate.chain_verified);
  TlsClient without(port_, TLS1_3_VERSION);
  without.send(kConnect);
  EXPECT_EQ(without.read(4), kAccepted);
  EXPECT_EQ(policy_.last_connect().certificate.sha1_thumbprint, "");
}

// ---- WebSocket
// --------------------------------------------------------------------------------------------------

std::string upgrade(const std::string& path, const std::string& protocol) {
  return "GET " + path +
         " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         (protocol.empty() ? "" : "Sec-WebSocket-Protocol: " + protocol + "\r\n") + "\r\n";
}

std::string masked(unsigned char opcode, const std::string& payload) {
  std::string frame;
  frame.push_back(static_cast<char>(0x80 | opcode));
  EXPECT_LT(payload.size(), 126u);
  frame.push_back(static_cast<char>(0x80 | payload.size()));
  return frame + std::string(4, '\0') + payload;  // a mask of zeros is a mask
}

class WebSocketTest : public BrokerTest {
 protected:
  void SetUp() override {
    BrokerOptions options;
    options.listeners.push_back({"ws", Transport::kWebSocket, "127.0.0.1", 0, nullptr});
    start(options);
  }
  static std::string read_until(int fd, const std::string& end) {
    std::string text;
    char byte;
    while (text.find(end) == std::string::npos && ::recv(fd, &byte, 1, 0) == 1) text.push_back(byte);
    return text;
  }
  // Payload of the next frame of the server.
  static std::string frame(int fd) {
    unsigned char head[2];
    if (::recv(fd, head, 2, MSG_WAITALL) != 2) return "closed";
    EXPECT_EQ(head[1] & 0x80, 0);
    std::string payload(head[1] & 0x7F, '\0');
    if (!payload.empty()) {
      EXPECT_GT(::recv(fd, payload.data(), payload.size(), MSG_WAITALL), 0);
    }
    return (head[0] & 0x0F) == 8 ? "close frame" : payload;
  }
};

TEST_F(WebSocketTest, MqttOverBothPaths) {  // [MQTT-6.0.0-2, -3, -4]
  for (const auto* path : {"/mqtt", "/$iothub/websocket", "/$iothub/websocket?iothub-no-client-cert=true"}) {
    MqttClient c(port_);
    c.send(upgrade(path, "mqttv3.1, mqtt"));
    const auto answer = read_until(c.descriptor(), "\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 101")) << answer;
    EXPECT_NE(answer.find("Sec-WebSocket-Protocol: mqtt\r\n"), std::string::npos) << answer;
    // Frame borders mean nothing: one packet in two frames, two packets in one.
    c.send(masked(2, kConnect.substr(0, 7)) + masked(2, kConnect.substr(7) + "\x82\6\0\1\0\1a\0"s));
    std::string got;
    while (got.size() < 9) got += frame(c.descriptor());
    EXPECT_EQ(got, kAccepted + "\x90\3\0\1\0"s);
    c.send(masked(2, "\x30\5\0\1ahi"s));
    EXPECT_EQ(frame(c.descriptor()), "\x30\5\0\1ahi"s);
    c.send(masked(2, "\xE0\0"s));
    EXPECT_EQ(frame(c.descriptor()), "close frame");
    c.send(masked(8, "\x03\xE8"s));
    EXPECT_TRUE(c.closes_gracefully());
  }
}

TEST_F(WebSocketTest, TextFramesAreRefused) {  // [MQTT-6.0.0-1]
  MqttClient c(port_);
  c.send(upgrade("/mqtt", "mqtt"));
  read_until(c.descriptor(), "\r\n\r\n");
  c.send(masked(1, kConnect));
  c.shutdown_write();
  EXPECT_TRUE(c.closes_gracefully());
  EXPECT_EQ(stats().sessions, 0u);
}

TEST_F(WebSocketTest, WrongPathAndMissingProtocolAreTold) {
  MqttClient a(port_);
  a.send(upgrade("/elsewhere", "mqtt"));
  EXPECT_TRUE(read_until(a.descriptor(), "\r\n\r\n").starts_with("HTTP/1.1 404"));
  MqttClient b(port_);
  b.send(upgrade("/mqtt", ""));
  EXPECT_TRUE(read_until(b.descriptor(), "\r\n\r\n").starts_with("HTTP/1.1 400"));
}

TEST_F(WebSocketTest, PlainRequestsGoToThePolicy) {
  MqttClient c(port_);
  for (int i = 0; i < 2; ++i) {  // keep-alive
    c.send(
        "POST /twins/d/modules/m/methods?api-version=1 HTTP/1.1\r\nHost: x\r\nContent-Length: "
        "7\r\n\r\n{\"a\":1}");
    const auto answer = read_until(c.descriptor(), "{\"echo\":{\"a\":1}}");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
    EXPECT_NE(answer.find("Content-Type: application/json"), std::string::npos);
  }
  EXPECT_TRUE(policy_.wait_for("http:POST:/twins/d/modules/m/methods?api-version=1:{\"a\":1}"));
}

TEST_F(WebSocketTest, GarbageIsAnsweredOrClosed) {
  MqttClient c(port_);
  c.send(kConnect + std::string(50, '\n'));
  EXPECT_TRUE(c.closes_gracefully());
  MqttClient big(port_);
  big.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
  EXPECT_TRUE(read_until(big.descriptor(), "\r\n\r\n").starts_with("HTTP/1.1 413"));
}

}  // namespace
}  // namespace decklog::broker::test
