// The device's one secret and what is derived from it.
//
// The master key is 32 random bytes in a 0600 file, made at the first start. Everything else is HKDF-SHA256
// of it with a purpose as info, so a leaked derived key tells nothing about the others and nothing further
// has to be kept. Agent and hub open the same file; when both make it at the same time, one wins and both use
// that one. Values; any thread. Sealed bytes are useless on another device and for another purpose. Failure:
// kCorrupt = the file is damaged (it is never replaced by itself: all that was sealed would be lost),
// kPermissionDenied, kIo.
#pragma once

#include <string>
#include <string_view>

#include "events/result.hpp"
#include "services/workload/crypto.hpp"

namespace decklog::workload {

// AES-256-GCM under a key of one purpose: "DKS" version nonce(12) ciphertext tag(16). Random nonces: at most
// 2^32 seals a purpose in the life of a device, which is four a second for thirty years.
class Sealer final {
 public:
  explicit Sealer(const Key& key) : key_(key) {}
  // `aad` says what the text is ("deployment", "twin/sensor"): opening it as something else fails.
  std::string seal(std::string_view plaintext, std::string_view aad) const;
  // kCorrupt; kUnsupported = sealed by a later version.
  Result<std::string> open(std::string_view sealed, std::string_view aad) const;

 private:
  Key key_;
};

// Stands for a secret in the log: equal secrets of one device give equal digests, and nobody without the key
// can test a guess.
class KeyedDigest final {
 public:
  explicit KeyedDigest(const Key& key) : key_(key) {}
  std::string digest(std::string_view value) const;          // "hmac:" and 16 hex digits
  std::int64_t digest_number(std::string_view value) const;  // 0 to 2^53 - 1: stays a number in JSON

 private:
  Key key_;
};

struct ModuleKeys {
  std::string primary;  // base64 of 32 bytes
  std::string secondary;
  friend bool operator==(const ModuleKeys&, const ModuleKeys&) = default;
};

class DeviceKeys final {
 public:
  // Reads `path`, or makes it. Narrows its mode to 0600.
  static Result<DeviceKeys> open(const std::string& path);
  explicit DeviceKeys(std::string_view master_32_bytes);

  Sealer sealer(std::string_view purpose) const;  // "deployment", "identities", "twins", "workload"
  KeyedDigest digests() const;
  ModuleKeys module_keys(std::string_view module_id, std::string_view generation_id) const;

 private:
  Key derive(std::string_view purpose) const;
  std::string master_;
};

}  // namespace decklog::workload
