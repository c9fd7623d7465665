// The device's certificate authority: its own, made at the first start, or the user's.
//
// Its own: EC P-256, self-signed, key in <directory>/edge-ca.key.pem (0600), certificate in
// <directory>/edge-ca.pem. It is valid from 1970 on and for 25 years, so that a device without a clock
// battery can use it at its first boot. The user's: certificate (with its chain) and key files; the trust
// bundle must then hold a self-signed root, because clients (Node, OpenSSL) do not take an intermediate for
// an anchor. Thread: one at a time. Issuing reads no clock: now is an argument. Takes about a millisecond.
// Failure: kNotFound, kCorrupt, kInvalidArgument (`where` = the file), kPermissionDenied, kIo.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::workload {

inline constexpr Duration kCertificateLifetime = std::chrono::hours(24 * 90);
inline constexpr Duration kCertificateLifetimeMin = std::chrono::minutes(5);

struct UserCa {
  std::string certificate_file;  // PEM: the issuing CA first, then its chain
  std::string private_key_file;  // PEM, not encrypted
  std::string
      trust_bundle_file;  // PEM: root(s) clients shall trust; empty = the self-signed ones of the chain
};

enum class CertificateUse { kServer, kClient };

struct CertificateRequest {
  CertificateUse use = CertificateUse::kServer;
  std::string common_name;                   // cut to 64 bytes
  std::vector<std::string> alt_names;        // DNS names or IP literals
  std::string uri = {};                      // further alternative name
  Duration lifetime = kCertificateLifetime;  // never beyond the CA's own end
};

struct IssuedCertificate {
  std::string certificate_pem;  // leaf, then intermediates; no root
  std::string private_key_pem;
  WallTime not_before, not_after;
};

// When 80 % of the life is over.
WallTime renewal_time(WallTime not_before, WallTime not_after);

class EdgeCa final {
 public:
  enum class Origin { kLoaded, kCreated, kUser };

  // `directory` exists. `user` set = the user's CA, and nothing is made.
  static Result<EdgeCa> open(const std::string& directory, const std::optional<UserCa>& user, WallTime now);
  EdgeCa(EdgeCa&&) noexcept;
  EdgeCa& operator=(EdgeCa&&) noexcept;
  ~EdgeCa();

  Origin origin() const;
  const std::string& trust_bundle_pem() const;  // always with a self-signed root
  std::string issuer_pem() const;               // the certificate that signs
  WallTime not_after() const;
  Result<IssuedCertificate> issue(const CertificateRequest& request, WallTime now) const;

 private:
  struct Parts;
  explicit EdgeCa(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// Not before / not after of the first certificate in a PEM text.
struct Validity {
  WallTime not_before, not_after;
};
Result<Validity> certificate_validity(const std::string& certificate_pem);

}  // namespace decklog::workload
