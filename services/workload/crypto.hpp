// The few cryptographic primitives that Decklog needs, over OpenSSL, without its types. Pure except
// random_bytes(). Any thread. Failure of a primitive with valid arguments is a broken build of the library
// and aborts.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "events/result.hpp"

namespace decklog::workload {

inline constexpr std::size_t kKeyBytes = 32;
using Key = std::array<unsigned char, kKeyBytes>;

std::string random_bytes(std::size_t count);  // from the kernel

std::string hmac_sha256(std::string_view key, std::string_view data);  // 32 raw bytes
std::string sha256(std::string_view data);                             // 32 raw bytes
// HKDF (RFC 5869) with SHA-256 and no salt; `info` separates purposes.
Key hkdf_sha256(std::string_view secret, std::string_view info);

// AES-256-GCM; the result is ciphertext followed by the 16 byte tag.
std::string aes_gcm_encrypt(const Key& key, std::string_view nonce, std::string_view aad,
                            std::string_view plaintext);
// kCorrupt when key, nonce, aad or one bit of the text is another.
Result<std::string> aes_gcm_decrypt(const Key& key, std::string_view nonce, std::string_view aad,
                                    std::string_view ciphertext);

std::string to_hex(std::string_view bytes);
std::string to_base64(std::string_view bytes);
// Standard alphabet, padding required, nothing else between: kMalformed otherwise.
Result<std::string> from_base64(std::string_view text);
// In time that depends on the lengths only.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace decklog::workload
