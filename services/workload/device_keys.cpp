#include "services/workload/device_keys.hpp"

#include "services/workload/private_file.hpp"

namespace decklog::workload {
namespace {

// "decklog-device-key 1 <64 hex digits> <8 hex digits: first bytes of the SHA-256 of what is before>\n"
constexpr std::string_view kHead = "decklog-device-key 1 ";
constexpr std::size_t kFileLimitBytes = 1024;
constexpr std::string_view kSealMagic = "DKS";
constexpr char kSealVersion = 1;
constexpr std::size_t kNonceBytes = 12;

std::string_view view(const Key& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

std::string file_text(std::string_view master) {
  const std::string body = std::string(kHead) + to_hex(master);
  return body + " " + to_hex(sha256(body)).substr(0, 8) + "\n";
}

Result<std::string> parse_file(std::string_view text, const std::string& path) {
  const auto damaged = [&] {
    return error(Errc::kCorrupt,
                 "the device key file is damaged; restore it from a copy, or remove it to begin anew", path);
  };
  if (!text.starts_with(kHead) || text.size() < kHead.size() + 2 * kKeyBytes) return damaged();
  std::string master;
  const auto nibble = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  for (std::size_t i = 0; i < kKeyBytes; ++i) {
    const int high = nibble(text[kHead.size() + 2 * i]), low = nibble(text[kHead.size() + 2 * i + 1]);
    if (high < 0 || low < 0) return damaged();
    master += static_cast<char>(high * 16 + low);
  }
  if (file_text(master) != text) return damaged();
  return master;
}

}  // namespace

std::string Sealer::seal(std::string_view plaintext, std::string_view aad) const {
  const std::string nonce = random_bytes(kNonceBytes);
  std::string out(kSealMagic);
  out += kSealVersion;
  out += nonce;
  out += aes_gcm_encrypt(key_, nonce, std::string(kSealMagic) + kSealVersion + std::string(aad), plaintext);
  return out;
}

Result<std::string> Sealer::open(std::string_view sealed, std::string_view aad) const {
  const std::size_t head = kSealMagic.size() + 1;
  if (sealed.size() < head + kNonceBytes || !sealed.starts_with(kSealMagic)) {
    return error(Errc::kCorrupt, "not a sealed text");
  }
  if (sealed[kSealMagic.size()] != kSealVersion)
    return error(Errc::kUnsupported, "sealed by another version");
  return aes_gcm_decrypt(key_, sealed.substr(head, kNonceBytes),
                         std::string(sealed.substr(0, head)) + std::string(aad),
                         sealed.substr(head + kNonceBytes));
}

std::string KeyedDigest::digest(std::string_view value) const {
  return "hmac:" + to_hex(hmac_sha256(view(key_), value)).substr(0, 16);
}

std::int64_t KeyedDigest::digest_number(std::string_view value) const {
  const std::string mac = hmac_sha256(view(key_), value);
  std::uint64_t number = 0;
  for (int i = 0; i < 8; ++i)
    number = number << 8 | static_cast<unsigned char>(mac[static_cast<std::size_t>(i)]);
  return static_cast<std::int64_t>(number >> 11);
}

DeviceKeys::DeviceKeys(std::string_view master_32_bytes) : master_(master_32_bytes) {
  DECKLOG_ASSERT(master_.size() == kKeyBytes);
}

Result<DeviceKeys> DeviceKeys::open(const std::string& path) {
  auto text = read_private_file(path, kFileLimitBytes);
  if (!text && text.error().code == Errc::kNotFound) {
    const auto written = write_private_file(path, file_text(random_bytes(kKeyBytes)), IfExists::kFail);
    if (!written && written.error().code != Errc::kAlreadyExists) return written.error();
    text = read_private_file(path, kFileLimitBytes);  // ours, or that of the process that was faster
  }
  if (!text) return text.error();
  if (auto narrowed = make_private(path); !narrowed) return narrowed.error();
  auto master = parse_file(*text, path);
  if (!master) return master.error();
  return DeviceKeys(*master);
}

Key DeviceKeys::derive(std::string_view purpose) const {
  return hkdf_sha256(master_, "decklog/1/" + std::string(purpose));
}

Sealer DeviceKeys::sealer(std::string_view purpose) const {
  return Sealer(derive("seal/" + std::string(purpose)));
}
KeyedDigest DeviceKeys::digests() const {
  return KeyedDigest(derive("digest"));
}

ModuleKeys DeviceKeys::module_keys(std::string_view module_id, std::string_view generation_id) const {
  // The length keeps ("a/b", "c") and ("a", "b/c") apart.
  const std::string who =
      std::to_string(module_id.size()) + ":" + std::string(module_id) + "/" + std::string(generation_id);
  return {to_base64(view(derive("identity/primary/" + who))),
          to_base64(view(derive("identity/secondary/" + who)))};
}

}  // namespace decklog::workload
