#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "services/http/connection.hpp"

namespace decklog::http {

std::shared_ptr<ConnectionBase> make_tls_connection(std::weak_ptr<ConnectionOwner> owner, Socket socket,
                                                    Peer peer, TlsContext context) {
  auto& reference = *context;
  return std::make_shared<Connection<asio::ssl::stream<Socket>>>(
      std::move(owner), std::move(peer), std::move(context), std::move(socket), reference);
}

Result<TlsContext> make_tls_context(const TlsSettings& settings) {
  using asio::ssl::context;
  auto made = std::make_shared<context>(context::tls_server);
  boost::system::error_code failure;
  made->set_options(
      context::default_workarounds | context::no_tlsv1 | context::no_tlsv1_1 | context::single_dh_use,
      failure);
  made->use_certificate_chain(asio::buffer(settings.certificate_chain_pem), failure);
  if (failure)
    return error(Errc::kInvalidArgument, "the certificate chain is not usable: " + failure.message());
  made->use_private_key(asio::buffer(settings.private_key_pem), context::pem, failure);
  if (failure || SSL_CTX_check_private_key(made->native_handle()) != 1) {
    return error(Errc::kInvalidArgument,
                 "the private key is not usable or does not belong to the certificate");
  }
  if (!settings.client_ca_pem.empty()) {
    made->add_certificate_authority(asio::buffer(settings.client_ca_pem), failure);
    if (failure) return error(Errc::kInvalidArgument, "the client CA is not usable: " + failure.message());
    made->set_verify_mode(asio::ssl::verify_peer, failure);
    // Without it a resumed session of a client with a certificate is refused by OpenSSL.
    SSL_CTX_set_session_id_context(made->native_handle(), reinterpret_cast<const unsigned char*>("decklog"),
                                   7);
  }
  return made;
}

std::string client_certificate(void* ssl) {
  X509* certificate = SSL_get1_peer_certificate(static_cast<SSL*>(ssl));
  if (!certificate) return {};
  std::string pem;
  if (BIO* out = BIO_new(BIO_s_mem())) {
    char* data = nullptr;
    const bool written = PEM_write_bio_X509(out, certificate) == 1;
    const long size = BIO_get_mem_data(out, &data);
    if (written && size > 0) pem.assign(data, static_cast<std::size_t>(size));
    BIO_free(out);
  }
  X509_free(certificate);
  return pem;
}

}  // namespace decklog::http
