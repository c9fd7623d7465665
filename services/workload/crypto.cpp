#include "services/workload/crypto.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <sys/random.h>

#include <cerrno>

namespace decklog::workload {
namespace {

constexpr std::size_t kTagBytes = 16;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

struct CipherContext final {
  CipherContext() : raw(EVP_CIPHER_CTX_new()) { DECKLOG_ASSERT(raw != nullptr); }
  ~CipherContext() { EVP_CIPHER_CTX_free(raw); }
  CipherContext(const CipherContext&) = delete;
  CipherContext& operator=(const CipherContext&) = delete;
  EVP_CIPHER_CTX* raw;
};

}  // namespace

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::getrandom(bytes.data() + done, count - done, 0);
    if (got < 0 && errno == EINTR) continue;
    DECKLOG_ASSERT(got > 0);
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

std::string hmac_sha256(std::string_view key, std::string_view data) {
  std::string digest(32, '\0');
  unsigned int size = 0;
  const auto* result = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(data),
                            data.size(), bytes_of(digest), &size);
  DECKLOG_ASSERT(result != nullptr && size == digest.size());
  return digest;
}

std::string sha256(std::string_view data) {
  std::string digest(32, '\0');
  unsigned int size = 0;
  DECKLOG_ASSERT(EVP_Digest(data.data(), data.size(), bytes_of(digest), &size, EVP_sha256(), nullptr) == 1);
  return digest;
}

Key hkdf_sha256(std::string_view secret, std::string_view info) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  EVP_KDF_free(kdf);
  DECKLOG_ASSERT(context != nullptr);
  std::string digest = "SHA256", key(secret), purpose(info);
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data(), key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, purpose.data(), purpose.size()),
      OSSL_PARAM_construct_end(),
  };
  Key derived{};
  const int made = EVP_KDF_derive(context, derived.data(), derived.size(), parameters);
  EVP_KDF_CTX_free(context);
  OPENSSL_cleanse(key.data(), key.size());
  DECKLOG_ASSERT(made == 1);
  return derived;
}

std::string aes_gcm_encrypt(const Key& key, std::string_view nonce, std::string_view aad,
                            std::string_view plaintext) {
  const CipherContext context;
  std::string out(plaintext.size() + kTagBytes, '\0');
  int size = 0;
  bool good =
      EVP_EncryptInit_ex(context.raw, EVP_aes_256_gcm(), nullptr, nullptr, nullptr) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.raw, EVP_CTRL_GCM_SET_IVLEN, static_cast<int>(nonce.size()), nullptr) ==
          1 &&
      EVP_EncryptInit_ex(context.raw, nullptr, nullptr, key.data(), bytes_of(nonce)) == 1 &&
      EVP_EncryptUpdate(context.raw, nullptr, &size, bytes_of(aad), static_cast<int>(aad.size())) == 1 &&
      EVP_EncryptUpdate(context.raw, bytes_of(out), &size, bytes_of(plaintext),
                        static_cast<int>(plaintext.size())) == 1;
  good = good && EVP_EncryptFinal_ex(context.raw, bytes_of(out) + plaintext.size(), &size) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.raw, EVP_CTRL_GCM_GET_TAG, kTagBytes,
                             bytes_of(out) + plaintext.size()) == 1;
  DECKLOG_ASSERT(good);
  return out;
}

Result<std::string> aes_gcm_decrypt(const Key& key, std::string_view nonce, std::string_view aad,
                                    std::string_view ciphertext) {
  if (ciphertext.size() < kTagBytes) return error(Errc::kCorrupt, "sealed text is too short");
  const std::size_t length = ciphertext.size() - kTagBytes;
  std::string tag(ciphertext.substr(length));
  std::string out(length, '\0');
  const CipherContext context;
  int size = 0;
  const bool good =
      EVP_DecryptInit_ex(context.raw, EVP_aes_256_gcm(), nullptr, nullptr, nullptr) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.raw, EVP_CTRL_GCM_SET_IVLEN, static_cast<int>(nonce.size()), nullptr) ==
          1 &&
      EVP_DecryptInit_ex(context.raw, nullptr, nullptr, key.data(), bytes_of(nonce)) == 1 &&
      EVP_DecryptUpdate(context.raw, nullptr, &size, bytes_of(aad), static_cast<int>(aad.size())) == 1 &&
      EVP_DecryptUpdate(context.raw, bytes_of(out), &size, bytes_of(ciphertext), static_cast<int>(length)) ==
          1 &&
      EVP_CIPHER_CTX_ctrl(context.raw, EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1;
  DECKLOG_ASSERT(good);
  unsigned char rest[kTagBytes];
  if (EVP_DecryptFinal_ex(context.raw, rest, &size) != 1) {
    OPENSSL_cleanse(out.data(), out.size());
    return error(Errc::kCorrupt, "sealed text was changed, or was sealed for another device or purpose");
  }
  return out;
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

std::string to_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock ends with a zero
  const int size = EVP_EncodeBlock(bytes_of(text), bytes_of(bytes), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

Result<std::string> from_base64(std::string_view text) {
  const auto malformed = [] { return error(Errc::kMalformed, "not base64"); };
  const std::size_t end = text.find('=');
  const std::size_t padding = end == std::string_view::npos ? 0 : text.size() - end;
  if (text.size() % 4 != 0 || padding > 2) return malformed();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool digit =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (!(i < text.size() - padding ? digit : c == '=')) return malformed();
  }
  std::string bytes(text.size() / 4 * 3, '\0');
  if (EVP_DecodeBlock(bytes_of(bytes), bytes_of(text), static_cast<int>(text.size())) < 0) return malformed();
  bytes.resize(bytes.size() - padding);
  return bytes;
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace decklog::workload
