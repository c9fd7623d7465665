#include "services/workload/server_certificate.hpp"

#include <openssl/x509v3.h>

#include "services/workload/private_file.hpp"
#include "services/workload/x509.hpp"

namespace decklog::workload {
namespace {

constexpr std::size_t kFileLimitBytes = 256 * 1024;

// What is on disk counts only when it is whole, ours and for these names.
bool fits(X509* leaf, EVP_PKEY* key, const std::vector<std::string>& names) {
  if (X509_check_private_key(leaf, key) != 1) return false;
  for (const auto& name : names) {
    if (X509_check_ip_asc(leaf, name.c_str(), 0) != 1 &&
        X509_check_host(leaf, name.data(), name.size(), 0, nullptr) != 1) {
      return false;
    }
  }
  return true;
}

bool issued_by(X509* leaf, const EdgeCa& ca) {
  const auto issuer = parse_certificates(ca.issuer_pem());
  if (!issuer) return false;
  EVP_PKEY* key = X509_get0_pubkey(issuer->front().get());
  return key && X509_verify(leaf, key) == 1;
}

bool due(const IssuedCertificate& certificate, WallTime now) {
  return now >= renewal_time(certificate.not_before, certificate.not_after) || now < certificate.not_before;
}

}  // namespace

Result<ServerCertificate> ServerCertificate::open(std::string file, std::vector<std::string> host_names,
                                                  const EdgeCa& ca, WallTime now, Renewed on_renewed) {
  ServerCertificate made;
  made.file_ = std::move(file);
  made.host_names_ = std::move(host_names);
  if (const auto text = read_private_file(made.file_, kFileLimitBytes)) {
    const auto key = parse_key(*text);
    const auto chain = parse_certificates(*text);
    if (key && chain && fits(chain->front().get(), key->get(), made.host_names_) &&
        issued_by(chain->front().get(), ca)) {
      IssuedCertificate kept;
      for (const auto& one : *chain) kept.certificate_pem += certificate_pem(one.get());
      kept.private_key_pem = key_pem(key->get());
      kept.not_before = not_before_of(chain->front().get());
      kept.not_after = not_after_of(chain->front().get());
      if (!due(kept, now)) made.current_ = std::move(kept);
    }
  }
  if (made.current_.certificate_pem.empty()) {
    if (auto renewed = made.renew(ca, now); !renewed) return renewed.error();
  }
  made.on_renewed_ = std::move(on_renewed);
  return made;
}

Status ServerCertificate::renew(const EdgeCa& ca, WallTime now) {
  CertificateRequest request;
  request.common_name = host_names_.empty() ? std::string() : host_names_.front();
  request.alt_names = host_names_;
  auto issued = ca.issue(request, now);
  if (!issued) return issued.error();
  const auto written =
      write_private_file(file_, issued->private_key_pem + issued->certificate_pem, IfExists::kReplace);
  if (!written) return written.error();
  current_ = std::move(*issued);
  if (on_renewed_) on_renewed_(current_);
  return {};
}

Result<bool> ServerCertificate::renew_if_due(const EdgeCa& ca, WallTime now) {
  if (!due(current_, now)) return false;
  if (auto renewed = renew(ca, now); !renewed) return renewed.error();
  return true;
}

}  // namespace decklog::workload
