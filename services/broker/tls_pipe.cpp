#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>

#include "services/broker/pipe.hpp"

namespace decklog::broker {
namespace {

std::string thumbprint(const X509* certificate, const EVP_MD* digest) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (X509_digest(certificate, digest, bytes.data(), &size) != 1) return {};
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text.push_back(kHex[bytes[i] >> 4]);
    text.push_back(kHex[bytes[i] & 0x0F]);
  }
  return text;
}

std::string common_name(X509* certificate) {
  auto* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return name;
}

WallTime wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  constexpr std::int64_t kSecond = 1'000'000'000;
  // Some issuers write the year 9999 for "never": beyond what nanoseconds hold.
  const std::int64_t seconds = ::timegm(&parts), last = std::numeric_limits<std::int64_t>::max() / kSecond;
  return {std::clamp(seconds, -last, last) * kSecond};
}

std::string first_uri(const X509* certificate) {
  std::string uri;
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names) && uri.empty(); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const auto* text = name->d.uniformResourceIdentifier;
    uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
               static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  return uri;
}

class TlsPipe final : public SocketPipe {
 public:
  TlsPipe(Socket socket, SSL* session) : SocketPipe(std::move(socket)), session_(session) {
    SSL_set_app_data(session_, &chain_failed_);
  }
  ~TlsPipe() override { SSL_free(session_); }

  // The handshake happens inside the first reads. Fills the buffer, because a record is at most 16 KiB.
  IoResult read(char* to, std::size_t size) override {
    if (ended_) return receive(to, size);
    std::size_t total = 0;
    while (total < size) {
      ERR_clear_error();
      const auto want =
          static_cast<int>(std::min<std::size_t>(size - total, std::numeric_limits<int>::max()));
      const int got = SSL_read(session_, to + total, want);
      if (got > 0) {
        total += static_cast<std::size_t>(got);
        continue;
      }
      const auto verdict = classify(got, read_waits_for_);
      if (total > 0) return {IoResult::Kind::kBytes, total};  // the verdict comes again at the next call
      return {verdict, 0};
    }
    return {IoResult::Kind::kBytes, total};
  }

  IoResult write(const char* from, std::size_t size) override {
    ERR_clear_error();
    const auto want = static_cast<int>(std::min<std::size_t>(size, std::numeric_limits<int>::max()));
    const int sent = SSL_write(session_, from, want);
    if (sent > 0) return {IoResult::Kind::kBytes, static_cast<std::size_t>(sent)};
    auto verdict = classify(sent, write_waits_for_);
    if (verdict == IoResult::Kind::kEnd) verdict = IoResult::Kind::kFailed;
    return {verdict, 0};
  }

  void shutdown_write() override {
    ERR_clear_error();
    if (!broken_ && SSL_is_init_finished(session_) != 0) SSL_shutdown(session_);  // close_notify, not awaited
    ERR_clear_error();
    SocketPipe::shutdown_write();
  }

  WaitFor read_waits_for() const override { return read_waits_for_; }
  WaitFor write_waits_for() const override { return write_waits_for_; }
  bool has_buffered() const override { return SSL_pending(session_) > 0; }

  PeerCertificate certificate() const override {
    PeerCertificate seen;
    X509* peer = SSL_get1_peer_certificate(session_);
    if (peer == nullptr) return seen;
    seen.subject_common_name = common_name(peer);
    seen.sha1_thumbprint = thumbprint(peer, EVP_sha1());
    seen.sha256_thumbprint = thumbprint(peer, EVP_sha256());
    seen.not_before = wall_time(X509_get0_notBefore(peer));
    seen.not_after = wall_time(X509_get0_notAfter(peer));
    seen.uri = first_uri(peer);
    seen.chain_verified = !chain_failed_;
    X509_free(peer);
    return seen;
  }

 private:
  IoResult::Kind classify(int outcome, WaitFor& waits_for) {
    switch (SSL_get_error(session_, outcome)) {
      case SSL_ERROR_WANT_READ:
        waits_for = WaitFor::kRead;
        return IoResult::Kind::kWait;
      case SSL_ERROR_WANT_WRITE:
        waits_for = WaitFor::kWrite;
        return IoResult::Kind::kWait;
      case SSL_ERROR_ZERO_RETURN:
        return IoResult::Kind::kEnd;
      default:
        broken_ = true;
        return IoResult::Kind::kFailed;
    }
  }

  SSL* session_;
  WaitFor read_waits_for_ = WaitFor::kRead;
  WaitFor write_waits_for_ = WaitFor::kWrite;
  bool chain_failed_ = false;
  bool broken_ = false;
};

}  // namespace

std::unique_ptr<SocketPipe> make_tls_pipe(Socket socket, const TlsContext& context) {
  SSL* session = context.new_session(socket.native_handle());
  if (session == nullptr) return nullptr;
  return std::make_unique<TlsPipe>(std::move(socket), session);
}

}  // namespace decklog::broker
