#include "persistence/merkle.hpp"

#include <openssl/evp.h>

#include <bit>
#include <cstring>

#include "persistence/journal_frame.hpp"

namespace decklog::persistence {
namespace {

constexpr std::string_view kLeafPrefix("\0", 1);
constexpr std::string_view kNodePrefix("\x01", 1);
constexpr std::string_view kFrontierMagic = "DLTF0001";

std::string_view view(const Hash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

Sha256& local_digest() {
  thread_local Sha256 digest;
  return digest;
}

Hash node(const Hash& left, const Hash& right) {
  return local_digest()({kNodePrefix, view(left), view(right)});
}

void put_text(std::string& out, std::string_view text) {
  out += big_endian(text.size());
  out += text;
}

// Size of the left subtree: the largest power of two below n.
std::uint64_t split(std::uint64_t n) {
  return std::bit_floor(n - 1);
}

void subproof(std::span<const Hash> leaves, std::uint64_t old_size, bool complete, std::vector<Hash>& proof) {
  if (old_size == leaves.size()) {
    if (!complete) proof.push_back(tree_root(leaves));
    return;
  }
  const std::uint64_t left = split(leaves.size());
  if (old_size <= left) {
    subproof(leaves.first(left), old_size, complete, proof);
    proof.push_back(tree_root(leaves.subspan(left)));
  } else {
    subproof(leaves.subspan(left), old_size - left, false, proof);
    proof.push_back(tree_root(leaves.first(left)));
  }
}

}  // namespace

struct Sha256::Context {
  EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* state = EVP_MD_CTX_new();
  ~Context() {
    EVP_MD_CTX_free(state);
    EVP_MD_free(algorithm);
  }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  DECKLOG_ASSERT(context_->algorithm != nullptr && context_->state != nullptr);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Hash Sha256::operator()(std::initializer_list<std::string_view> parts) {
  Hash hash;
  int ok = EVP_DigestInit_ex(context_->state, context_->algorithm, nullptr);
  for (const std::string_view part : parts) ok &= EVP_DigestUpdate(context_->state, part.data(), part.size());
  ok &= EVP_DigestFinal_ex(context_->state, hash.data(), nullptr);
  DECKLOG_ASSERT(ok == 1);
  return hash;
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text.push_back(kDigits[static_cast<std::uint8_t>(byte) >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

std::string to_hex(const Hash& hash) {
  return to_hex(view(hash));
}

Result<Hash> hash_from_hex(std::string_view text) {
  Hash hash{};
  if (text.size() != 2 * hash.size()) return error(Errc::kMalformed, "a hash has 64 hexadecimal digits");
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return error(Errc::kMalformed, "a hash has 64 hexadecimal digits");
    hash[i / 2] = static_cast<std::uint8_t>(hash[i / 2] << 4 | digit);
  }
  return hash;
}

Hash LeafHasher::leaf(const Envelope& event, std::string_view stored) {
  header_.clear();
  header_ += big_endian(event.sequence.value);
  header_ +=
      big_endian(event.fact.index() == 0 ? std::get<UnknownFact>(event.fact).type : event.fact.index());
  header_ += big_endian(static_cast<std::uint64_t>(event.time.wall.ns));
  header_ += big_endian(static_cast<std::uint64_t>(event.time.mono.ns));
  header_ += big_endian(event.cause.value);
  put_text(header_, event.stream.value);
  put_text(header_, event.boot.value);
  const Hash salt = digest_({salt_, std::string_view(header_).substr(0, 8)});
  const Hash payload = digest_({view(salt), stored});
  return digest_({kLeafPrefix, header_, view(payload)});
}

Hash LeafHasher::gap_leaf(std::uint64_t sequence) {
  return digest_({kLeafPrefix, "gap", big_endian(sequence)});
}

void Frontier::add(const Hash& leaf) {
  peaks_.push_back(leaf);
  for (std::uint64_t full = size_; (full & 1) != 0; full >>= 1) {
    const Hash right = peaks_.back();
    peaks_.pop_back();
    peaks_.back() = node(peaks_.back(), right);
  }
  ++size_;
}

Hash Frontier::root() const {
  if (peaks_.empty()) return local_digest()({});
  Hash root = peaks_.back();
  for (std::size_t i = peaks_.size() - 1; i-- > 0;) root = node(peaks_[i], root);
  return root;
}

std::string Frontier::save() const {
  std::string bytes(kFrontierMagic);
  bytes += big_endian(size_);
  for (const Hash& peak : peaks_) bytes += view(peak);
  return bytes;
}

Result<Frontier> Frontier::load(std::string_view bytes) {
  Frontier frontier;
  if (bytes.size() < 16 || !bytes.starts_with(kFrontierMagic)) {
    return error(Errc::kMalformed, "not a saved Merkle frontier");
  }
  frontier.size_ = from_big_endian(bytes.substr(8, 8));
  bytes.remove_prefix(16);
  const auto peaks = static_cast<std::size_t>(std::popcount(frontier.size_));
  if (bytes.size() != peaks * sizeof(Hash))
    return error(Errc::kMalformed, "a saved Merkle frontier of another size");
  frontier.peaks_.resize(peaks);
  for (std::size_t i = 0; i < peaks; ++i) {
    std::memcpy(frontier.peaks_[i].data(), bytes.data() + i * sizeof(Hash), sizeof(Hash));
  }
  return frontier;
}

Hash tree_root(std::span<const Hash> leaves) {
  Frontier frontier;
  for (const Hash& leaf : leaves) frontier.add(leaf);
  return frontier.root();
}

std::vector<Hash> inclusion_proof(std::span<const Hash> leaves, std::uint64_t index) {
  std::vector<Hash> proof;
  while (leaves.size() > 1 && index < leaves.size()) {
    const std::uint64_t left = split(leaves.size());
    const bool in_left = index < left;
    proof.push_back(tree_root(in_left ? leaves.subspan(left) : leaves.first(left)));
    leaves = in_left ? leaves.first(left) : leaves.subspan(left);
    if (!in_left) index -= left;
  }
  return {proof.rbegin(), proof.rend()};
}

bool verify_inclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size, std::span<const Hash> proof,
                      const Hash& root) {
  if (index >= size) return false;
  std::uint64_t position = index;
  std::uint64_t last = size - 1;
  Hash hash = leaf;
  for (const Hash& sibling : proof) {
    if (last == 0) return false;
    if ((position & 1) != 0 || position == last) {
      hash = node(sibling, hash);
      while ((position & 1) == 0 && position != 0) position >>= 1, last >>= 1;
    } else {
      hash = node(hash, sibling);
    }
    position >>= 1, last >>= 1;
  }
  return last == 0 && hash == root;
}

std::vector<Hash> consistency_proof(std::span<const Hash> leaves, std::uint64_t old_size) {
  std::vector<Hash> proof;
  if (old_size > 0 && old_size < leaves.size()) subproof(leaves, old_size, true, proof);
  return proof;
}

bool verify_consistency(std::uint64_t old_size, std::uint64_t new_size, const Hash& old_root,
                        const Hash& new_root, std::span<const Hash> proof) {
  if (old_size > new_size) return false;
  if (old_size == new_size) return proof.empty() && old_root == new_root;
  if (old_size == 0) return proof.empty();
  std::uint64_t position = old_size - 1;
  std::uint64_t last = new_size - 1;
  while ((position & 1) != 0) position >>= 1, last >>= 1;
  // An old tree that is one perfect subtree is its own first proof node.
  std::size_t at = 0;
  if (position != 0 && proof.empty()) return false;
  Hash old_hash = position != 0 ? proof[at++] : old_root;
  Hash new_hash = old_hash;
  for (; at < proof.size(); ++at) {
    if (last == 0) return false;
    if ((position & 1) != 0 || position == last) {
      old_hash = node(proof[at], old_hash);
      new_hash = node(proof[at], new_hash);
      while ((position & 1) == 0 && position != 0) position >>= 1, last >>= 1;
    } else {
      new_hash = node(new_hash, proof[at]);
    }
    position >>= 1, last >>= 1;
  }
  return last == 0 && old_hash == old_root && new_hash == new_root;
}

}  // namespace decklog::persistence
