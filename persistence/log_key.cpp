#include "persistence/log_key.hpp"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include "persistence/journal_files.hpp"
#include "persistence/journal_frame.hpp"

namespace decklog::persistence {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kPublicKeyBytes = 32;
constexpr std::size_t kSignatureBytes = 64;
constexpr std::string_view kPublicPrefix = "LOG_KEY.";

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

std::string message(std::uint64_t epoch, std::uint64_t tree_size, const Hash& root) {
  std::string text = "decklog head v1\n" + big_endian(epoch) + big_endian(tree_size);
  text.append(reinterpret_cast<const char*>(root.data()), root.size());
  return text;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes_of(bytes),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

// Exactly one signature, or nothing.
std::string signature_from_base64(std::string_view text) {
  std::string bytes(kSignatureBytes + 2, '\0');
  if (text.size() != 88 ||
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), bytes_of(text), 88) != 66) {
    return {};
  }
  bytes.resize(kSignatureBytes);
  return bytes;
}

Result<std::string> create_key(const fs::path& file) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free);
  const Bio out(BIO_new(BIO_s_mem()), &BIO_free);
  if (!key || !out ||
      PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return error(Errc::kInternal, "cannot make a log key");
  }
  char* data = nullptr;
  const auto size = static_cast<std::size_t>(BIO_get_mem_data(out.get(), &data));
  const std::string pem(data, size);
  if (const Status written = write_file_atomically(file, pem); written.has_error()) return written.error();
  return pem;
}

}  // namespace

std::string key_id_of(std::string_view public_key) {
  return to_hex(Sha256()({public_key})).substr(0, 16);
}

Result<LogKey> LogKey::load_or_create(const fs::path& file) {
  auto pem = read_small_file(file, 4096);
  if (!pem && pem.error().code == Errc::kNotFound) pem = create_key(file);
  if (!pem) return pem.error();
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return errno_error("cannot look at the log key", file);
  if ((status.st_mode & 0077) != 0) {
    return error(Errc::kPermissionDenied, "the log key is open to others; it must have mode 0600",
                 file.string());
  }
  const Bio in(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())), &BIO_free);
  LogKey key;
  EVP_PKEY* const read = in ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr;
  key.key_ = std::shared_ptr<void>(read, [](void* owned) { EVP_PKEY_free(static_cast<EVP_PKEY*>(owned)); });
  key.public_key_.resize(kPublicKeyBytes);
  std::size_t size = kPublicKeyBytes;
  if (read == nullptr || EVP_PKEY_get_id(read) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(read, reinterpret_cast<unsigned char*>(key.public_key_.data()), &size) !=
          1) {
    return error(Errc::kMalformed, "not an Ed25519 private key in PEM", file.string());
  }
  key.key_id_ = key_id_of(key.public_key_);
  return key;
}

HeadSigned LogKey::sign(std::uint64_t epoch, std::uint64_t tree_size, const Hash& root) const {
  const std::string text = message(epoch, tree_size, root);
  const DigestContext context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::string signature(kSignatureBytes, '\0');
  std::size_t size = signature.size();
  DECKLOG_ASSERT(
      context &&
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, static_cast<EVP_PKEY*>(key_.get())) == 1 &&
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes_of(text),
                     text.size()) == 1);
  return {tree_size, to_hex(root), to_base64(signature), key_id_};
}

Status LogKey::publish(const fs::path& journal_directory) const {
  const fs::path file = journal_directory / (std::string(kPublicPrefix) + key_id_);
  std::error_code failure;
  if (fs::exists(file, failure)) return {};
  return write_file_atomically(file, to_hex(public_key_) + "\n");
}

std::vector<std::string> published_keys(const fs::path& journal_directory) {
  std::vector<std::string> keys;
  std::error_code failure;
  for (fs::directory_iterator it(journal_directory, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string name = it->path().filename();
    const auto text =
        name.starts_with(kPublicPrefix) ? read_small_file(it->path(), 128) : Result<std::string>("");
    if (!text || text->size() < 2 * kPublicKeyBytes) continue;
    const auto key =
        hash_from_hex(std::string_view(*text).substr(0, 2 * kPublicKeyBytes));  // as long as a hash
    if (!key) continue;
    std::string bytes(reinterpret_cast<const char*>(key->data()), key->size());
    if (name == std::string(kPublicPrefix) + key_id_of(bytes)) keys.push_back(std::move(bytes));
  }
  return keys;
}

Status check_head(const HeadSigned& head, std::uint64_t epoch, std::string_view public_key) {
  const auto root = hash_from_hex(head.root);
  const std::string signature = signature_from_base64(head.signature);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(public_key), public_key.size()),
      &EVP_PKEY_free);
  const DigestContext context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (!root || signature.empty() || !key || !context ||
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) {
    return error(Errc::kUnauthenticated, "not a signed head");
  }
  const std::string text = message(epoch, head.tree_size, *root);
  if (EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text), text.size()) !=
      1) {
    return error(Errc::kUnauthenticated, "the signature does not hold");
  }
  return {};
}

}  // namespace decklog::persistence
