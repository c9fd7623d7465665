#include "services/workload/edge_ca.hpp"

#include <openssl/x509v3.h>

#include <set>

#include "services/workload/private_file.hpp"
#include "services/workload/x509.hpp"

namespace decklog::workload {
namespace {

using std::chrono::hours;
constexpr Duration kCaLifetime = hours(24 * 365 * 25);
constexpr Duration kBackdate = hours(24);  // clients' clocks
// 2026-01-01. A clock before it was never set: what is issued then is valid from 1970 on, and its life counts
// from here.
constexpr WallTime kClockFloor{1'767'225'600'000'000'000};
constexpr std::size_t kFileLimitBytes = 256 * 1024;
constexpr std::size_t kMaxAltNames = 32;

WallTime plus(WallTime time, Duration duration) {
  return {time.ns + duration.count()};
}
Error at(Error failure, const std::string& where) {
  failure.where = where;
  return failure;
}
Error failed(const char* what) {
  return error(Errc::kInternal, std::string("cannot make the certificate: ") + what);
}

Result<CertificatePtr> make_root(EVP_PKEY* key, WallTime now) {
  CertificatePtr root(X509_new());
  X509_NAME* name = X509_get_subject_name(root.get());
  const WallTime from = std::max(now, kClockFloor);
  const bool good = X509_set_version(root.get(), X509_VERSION_3) == 1 && set_random_serial(root.get()) &&
                    set_common_name(name, "Decklog edge CA") && X509_set_issuer_name(root.get(), name) == 1 &&
                    set_validity(root.get(), WallTime{0}, plus(from, kCaLifetime)) &&
                    X509_set_pubkey(root.get(), key) == 1 &&
                    add_extension(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE") &&
                    add_extension(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign") &&
                    add_extension(root.get(), root.get(), NID_subject_key_identifier, "hash") &&
                    X509_sign(root.get(), key, EVP_sha256()) > 0;
  if (!good) return failed("root");
  return root;
}

bool dns_name_is_sound(const std::string& name) {
  if (name.empty() || name.size() > 253) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

struct EdgeCa::Parts {
  Origin origin = Origin::kLoaded;
  KeyPtr key;
  std::vector<CertificatePtr> chain;  // issuing CA first
  std::string trust_bundle;
};

EdgeCa::EdgeCa(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
EdgeCa::EdgeCa(EdgeCa&&) noexcept = default;
EdgeCa& EdgeCa::operator=(EdgeCa&&) noexcept = default;
EdgeCa::~EdgeCa() = default;
EdgeCa::Origin EdgeCa::origin() const {
  return parts_->origin;
}
const std::string& EdgeCa::trust_bundle_pem() const {
  return parts_->trust_bundle;
}
std::string EdgeCa::issuer_pem() const {
  return certificate_pem(parts_->chain.front().get());
}
WallTime EdgeCa::not_after() const {
  return not_after_of(parts_->chain.front().get());
}

WallTime renewal_time(WallTime not_before, WallTime not_after) {
  // From 1970 on = issued before the clock was set; its life is counted from the floor.
  const std::int64_t from = not_before.ns == 0 ? kClockFloor.ns : not_before.ns;
  return {from + (not_after.ns - from) / 5 * 4};
}

namespace {

struct Files {
  std::string certificate, key, bundle;
};

// Loads and checks a CA from files; used for both kinds.
Status load(const Files& files, KeyPtr& key, std::vector<CertificatePtr>& chain, std::string& trust_bundle) {
  const auto certificate_text = read_private_file(files.certificate, kFileLimitBytes);
  if (!certificate_text) return certificate_text.error();
  const auto key_text = read_private_file(files.key, kFileLimitBytes);
  if (!key_text) return key_text.error();
  auto certificates = parse_certificates(*certificate_text);
  if (!certificates) return at(certificates.error(), files.certificate);
  auto parsed_key = parse_key(*key_text);
  if (!parsed_key) return at(parsed_key.error(), files.key);
  key = std::move(*parsed_key);
  chain = std::move(*certificates);
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    return error(Errc::kInvalidArgument,
                 "the key does not belong to the first certificate of " + files.certificate, files.key);
  }
  for (const auto& one : chain) {
    if (!is_ca(one.get())) {
      return error(Errc::kInvalidArgument, "holds a certificate that is not a CA (basicConstraints CA:TRUE)",
                   files.certificate);
    }
  }
  std::string source = *certificate_text;
  if (!files.bundle.empty()) {
    const auto text = read_private_file(files.bundle, kFileLimitBytes);
    if (!text) return text.error();
    source += "\n" + *text;
  }
  auto anchors = parse_certificates(source);
  if (!anchors) return at(anchors.error(), files.certificate);
  std::set<std::string> seen;
  for (const auto& one : *anchors) {
    const std::string pem = certificate_pem(one.get());
    if (is_self_signed(one.get()) && seen.insert(pem).second) trust_bundle += pem;
  }
  if (trust_bundle.empty()) {
    return error(Errc::kInvalidArgument, "no self-signed root: clients need one in the trust bundle",
                 files.bundle.empty() ? files.certificate : files.bundle);
  }
  return {};
}

}  // namespace

Result<EdgeCa> EdgeCa::open(const std::string& directory, const std::optional<UserCa>& user, WallTime now) {
  auto parts = std::make_unique<Parts>();
  Files files{directory + "/edge-ca.pem", directory + "/edge-ca.key.pem", {}};
  if (user) {
    parts->origin = Origin::kUser;
    files = {user->certificate_file, user->private_key_file, user->trust_bundle_file};
  } else {
    const auto certificate = read_private_file(files.certificate, kFileLimitBytes);
    // The certificate is written last: without it no client has ever trusted the key, and both are made anew.
    if (!certificate && certificate.error().code == Errc::kNotFound) {
      auto key = generate_key();
      if (!key) return key.error();
      auto root = make_root(key->get(), now);
      if (!root) return root.error();
      if (auto written = write_private_file(files.key, key_pem(key->get()), IfExists::kReplace); !written) {
        return written.error();
      }
      const auto written =
          write_private_file(files.certificate, certificate_pem(root->get()), IfExists::kReplace, 0644);
      if (!written) return written.error();
      parts->origin = Origin::kCreated;
    }
    if (auto narrowed = make_private(files.key); !narrowed) return narrowed.error();
  }
  auto loaded = load(files, parts->key, parts->chain, parts->trust_bundle);
  if (!loaded) return loaded.error();
  return EdgeCa(std::move(parts));
}

Result<IssuedCertificate> EdgeCa::issue(const CertificateRequest& request, WallTime now) const {
  const bool names = !request.alt_names.empty() && request.alt_names.size() <= kMaxAltNames &&
                     std::all_of(request.alt_names.begin(), request.alt_names.end(), dns_name_is_sound);
  if (!names || request.common_name.empty()) {
    return error(Errc::kInvalidArgument,
                 "a certificate needs a common name and 1 to 32 DNS names or IP addresses");
  }
  X509* issuer = parts_->chain.front().get();
  const bool clock_is_set = now >= kClockFloor;
  const WallTime counted = std::max(now, kClockFloor);
  const WallTime first = clock_is_set ? std::max(plus(now, -kBackdate), not_before_of(issuer)) : WallTime{0};
  const WallTime last =
      std::min(plus(counted, std::max(request.lifetime, kCertificateLifetimeMin)), not_after());
  if (last <= counted) return error(Errc::kUnavailable, "the CA certificate has expired");

  auto key = generate_key();
  if (!key) return key.error();
  CertificatePtr leaf(X509_new());
  // Strict clients (Python since 3.13) want it; an issuer of the user's own may have nothing to refer to.
  const bool has_key_id = X509_get_ext_by_NID(issuer, NID_subject_key_identifier, -1) >= 0;
  const bool server = request.use == CertificateUse::kServer;
  const bool good =
      X509_set_version(leaf.get(), X509_VERSION_3) == 1 && set_random_serial(leaf.get()) &&
      set_common_name(X509_get_subject_name(leaf.get()), request.common_name) &&
      X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer)) == 1 &&
      set_validity(leaf.get(), first, last) && X509_set_pubkey(leaf.get(), key->get()) == 1 &&
      add_extension(leaf.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
      add_extension(leaf.get(), issuer, NID_key_usage, "critical,digitalSignature") &&
      add_extension(leaf.get(), issuer, NID_ext_key_usage, server ? "serverAuth" : "clientAuth") &&
      add_extension(leaf.get(), issuer, NID_subject_key_identifier, "hash") &&
      (!has_key_id || add_extension(leaf.get(), issuer, NID_authority_key_identifier, "keyid:always")) &&
      add_alt_names(leaf.get(), request.alt_names, request.uri) &&
      X509_sign(leaf.get(), parts_->key.get(), EVP_sha256()) > 0;
  if (!good) return failed("leaf");

  IssuedCertificate issued{certificate_pem(leaf.get()), key_pem(key->get()), not_before_of(leaf.get()),
                           not_after_of(leaf.get())};
  for (const auto& one : parts_->chain) {
    if (!is_self_signed(one.get())) issued.certificate_pem += certificate_pem(one.get());
  }
  return issued;
}

Result<Validity> certificate_validity(const std::string& pem) {
  const auto certificates = parse_certificates(pem);
  if (!certificates) return certificates.error();
  const X509* first = certificates->front().get();
  return Validity{not_before_of(first), not_after_of(first)};
}

}  // namespace decklog::workload
