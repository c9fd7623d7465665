#include "services/workload/x509.hpp"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "services/workload/crypto.hpp"

namespace decklog::workload {
namespace {

constexpr std::size_t kCommonNameBytes = 64;  // ub-common-name of RFC 5280
constexpr std::size_t kMaxChain = 64;

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;

BioPtr reader(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

WallTime from_asn1(const ASN1_TIME* time) {
  tm parts{};
  if (!time || ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return {static_cast<std::int64_t>(::timegm(&parts)) * 1'000'000'000};
}

bool push_alt_name(GENERAL_NAMES* names, int type, const std::string& value) {
  ASN1_STRING* text = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (!text || !name || ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) != 1) {
    ASN1_STRING_free(text);
    GENERAL_NAME_free(name);
    return false;
  }
  GENERAL_NAME_set0_value(name, type, text);
  if (sk_GENERAL_NAME_push(names, name) > 0) return true;
  GENERAL_NAME_free(name);
  return false;
}

// The 4 or 16 bytes of an IP literal, or empty.
std::string ip_bytes(const std::string& text) {
  unsigned char bytes[16];
  if (::inet_pton(AF_INET, text.c_str(), bytes) == 1) return {reinterpret_cast<char*>(bytes), 4};
  if (::inet_pton(AF_INET6, text.c_str(), bytes) == 1) return {reinterpret_cast<char*>(bytes), 16};
  return {};
}

// Pass phrase callback: an encrypted key is an error, not a question on a terminal.
int no_pass_phrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

Result<KeyPtr> generate_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return error(Errc::kInternal, "cannot make a key");
  return key;
}

Result<KeyPtr> parse_key(const std::string& pem) {
  KeyPtr key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_pass_phrase, nullptr));
  ERR_clear_error();
  if (!key) return error(Errc::kInvalidArgument, "holds no private key in PEM form without a pass phrase");
  return key;
}

Result<std::vector<CertificatePtr>> parse_certificates(const std::string& pem) {
  std::vector<CertificatePtr> found;
  const BioPtr source = reader(pem);
  while (found.size() < kMaxChain) {
    CertificatePtr one(PEM_read_bio_X509(source.get(), nullptr, no_pass_phrase, nullptr));
    if (!one) break;
    found.push_back(std::move(one));
  }
  ERR_clear_error();
  if (found.empty()) return error(Errc::kInvalidArgument, "holds no certificate in PEM form");
  return found;
}

std::string key_pem(EVP_PKEY* key) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  DECKLOG_ASSERT(PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(out.get());
}

std::string certificate_pem(X509* certificate) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  DECKLOG_ASSERT(PEM_write_bio_X509(out.get(), certificate) == 1);
  return text_of(out.get());
}

bool is_self_signed(X509* certificate) {
  return X509_self_signed(certificate, 1) == 1;
}
bool is_ca(X509* certificate) {
  return X509_check_ca(certificate) == 1;
}

bool set_validity(X509* certificate, WallTime not_before, WallTime not_after) {
  const auto seconds = [](WallTime time) { return static_cast<time_t>(time.ns / 1'000'000'000); };
  return ASN1_TIME_adj(X509_getm_notBefore(certificate), seconds(not_before), 0, 0) != nullptr &&
         ASN1_TIME_adj(X509_getm_notAfter(certificate), seconds(not_after), 0, 0) != nullptr;
}

WallTime not_before_of(const X509* certificate) {
  return from_asn1(X509_get0_notBefore(certificate));
}
WallTime not_after_of(const X509* certificate) {
  return from_asn1(X509_get0_notAfter(certificate));
}

bool set_random_serial(X509* certificate) {
  std::string bytes = random_bytes(16);
  bytes[0] = static_cast<char>((bytes[0] & 0x3f) | 0x40);  // positive and of one length
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()),
                             static_cast<int>(bytes.size()), nullptr);
  const bool set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

bool set_common_name(X509_NAME* name, std::string_view text) {
  const std::string cut(text.substr(0, kCommonNameBytes));
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(cut.data()),
                                    static_cast<int>(cut.size()), -1, 0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  const bool added = extension && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool add_alt_names(X509* certificate, const std::vector<std::string>& names, const std::string& uri) {
  GENERAL_NAMES* list = GENERAL_NAMES_new();
  bool good = list != nullptr;
  for (const auto& name : names) {
    const std::string ip = ip_bytes(name);
    good = good && push_alt_name(list, ip.empty() ? GEN_DNS : GEN_IPADD, ip.empty() ? name : ip);
  }
  if (!uri.empty()) good = good && push_alt_name(list, GEN_URI, uri);
  good = good && X509_add1_ext_i2d(certificate, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1;
  GENERAL_NAMES_free(list);
  return good;
}

}  // namespace decklog::workload
