#include "services/broker/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <fstream>
#include <sstream>

namespace decklog::broker {
namespace {

template <auto Free>
struct Freed final {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using CertificatePtr = std::unique_ptr<X509, Freed<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

constexpr std::size_t kMaxPemBytes = 1u << 20;

Error tls_error(const char* what) {
  char text[160] = "unknown";
  if (const auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return error(Errc::kInvalidArgument, std::string(what) + ": " + text, "tls");
}

BioPtr memory_bio(const std::string& pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Any certificate may be shown: self-signed ones are known by thumbprint. Whether the chain holds is noted,
// not enforced; the pipe reads the note through the session's application data.
int note_chain(int chain_holds, X509_STORE_CTX* store) {
  if (chain_holds == 0) {
    auto* session =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    if (auto* failed = static_cast<bool*>(SSL_get_app_data(session)); failed != nullptr) *failed = true;
  }
  return 1;
}

// A device must not stop for a passphrase prompt on its terminal.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

Status load_chain(SSL_CTX* context, const std::string& pem) {
  const auto bio = memory_bio(pem);
  const CertificatePtr leaf(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return tls_error("server certificate");
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
    if (SSL_CTX_add0_chain_cert(context, next) != 1) {
      X509_free(next);
      return tls_error("server certificate chain");
    }
  }
  ERR_clear_error();  // the end of the PEM text is reported as an error
  return {};
}

Status load_client_roots(SSL_CTX* context, const std::string& pem) {
  const auto bio = memory_bio(pem);
  int count = 0;
  while (X509* root = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
    const CertificatePtr owned(root);
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root) != 1) return tls_error("client CA");
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return error(Errc::kInvalidArgument, "no certificate in the client CA text", "tls");
  return {};
}

Result<ContextPtr> build(const TlsMaterial& material) {
  if (material.certificate_chain_pem.size() > kMaxPemBytes ||
      material.private_key_pem.size() > kMaxPemBytes || material.client_ca_pem.size() > kMaxPemBytes) {
    return error(Errc::kTooLarge, "PEM text above 1 MiB", "tls");
  }
  ContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (!context) return tls_error("TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Sessions are not resumed: a ticket would outlive a withdrawn client certificate, a cache costs memory.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  if (const auto loaded = load_chain(context.get(), material.certificate_chain_pem); !loaded)
    return loaded.error();
  const auto bio = memory_bio(material.private_key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) return tls_error("private key");
  if (SSL_CTX_check_private_key(context.get()) != 1)
    return tls_error("private key does not fit the certificate");
  if (!material.client_ca_pem.empty()) {
    if (const auto loaded = load_client_roots(context.get(), material.client_ca_pem); !loaded)
      return loaded.error();
  }
  SSL_CTX_set_verify(context.get(), material.ask_for_client_certificate ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                     note_chain);
  return context;
}

Result<std::string> read_bounded(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return error(Errc::kNotFound, "cannot read the file", path);
  std::string text(kMaxPemBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxPemBytes) return error(Errc::kTooLarge, "PEM file above 1 MiB", path);
  return text;
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsMaterial& material) {
  auto context = build(material);
  if (!context) return context.error();
  return std::shared_ptr<TlsContext>(new TlsContext(context->release()));
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

Status TlsContext::reload(const TlsMaterial& material) {
  auto context = build(material);
  if (!context) return context.error();
  SSL_CTX_free(context_);  // sessions hold their own reference
  context_ = context->release();
  return {};
}

ssl_st* TlsContext::new_session(int descriptor) const {
  SSL* session = SSL_new(context_);
  if (session == nullptr) return nullptr;
  if (SSL_set_fd(session, descriptor) != 1) {
    SSL_free(session);
    return nullptr;
  }
  SSL_set_accept_state(session);
  return session;
}

Result<TlsMaterial> read_tls_files(const TlsFiles& files) {
  TlsMaterial material;
  auto chain = read_bounded(files.certificate_chain);
  if (!chain) return chain.error();
  material.certificate_chain_pem = std::move(*chain);
  auto key = read_bounded(files.private_key);
  if (!key) return key.error();
  material.private_key_pem = std::move(*key);
  if (!files.client_ca.empty()) {
    auto roots = read_bounded(files.client_ca);
    if (!roots) return roots.error();
    material.client_ca_pem = std::move(*roots);
  }
  return material;
}

}  // namespace decklog::broker
