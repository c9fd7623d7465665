// Private to this folder: OpenSSL's X.509 objects as owned values.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::workload {

struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct CertificateFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyFree>;
using CertificatePtr = std::unique_ptr<X509, CertificateFree>;

Result<KeyPtr> generate_key();  // EC P-256
Result<KeyPtr> parse_key(const std::string& pem);
Result<std::vector<CertificatePtr>> parse_certificates(const std::string& pem);  // at least one
std::string key_pem(EVP_PKEY* key);                                              // PKCS #8
std::string certificate_pem(X509* certificate);
bool is_self_signed(X509* certificate);
bool is_ca(X509* certificate);

// Seconds resolution.
bool set_validity(X509* certificate, WallTime not_before, WallTime not_after);
WallTime not_before_of(const X509* certificate);
WallTime not_after_of(const X509* certificate);

bool set_random_serial(X509* certificate);
bool set_common_name(X509_NAME* name, std::string_view text);  // cut to 64 bytes
bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value);
// Built as objects, not from text: a name with a comma in it must not become two.
bool add_alt_names(X509* certificate, const std::vector<std::string>& names, const std::string& uri);

}  // namespace decklog::workload
