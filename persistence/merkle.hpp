// RFC 6962 Merkle tree over the events of one journal, without storing hashes: leaves are recomputed from the
// events, the head needs only the frontier (one hash for each bit set in the size).
//
// Leaf i (from 0) stands for sequence i + 1:
//   leaf    = SHA-256(0x00 || header || SHA-256(SHA-256(salt || sequence) || stored bytes))
//   header  = sequence, type number, times, cause (8 bytes each, big endian), then stream and boot id with
//   lengths
// so that the stored bytes of one event can be erased later while the header and the inner digest keep its
// leaf. A sequence that is not in the journal (a gap) has the leaf SHA-256(0x00 || "gap" || sequence). The
// salt is the journal's secret (JournalReader::leaf_salt); who holds it can test guesses of an erased
// payload. Pure except for OpenSSL's digests. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/event.hpp"
#include "events/result.hpp"

namespace decklog::persistence {

using Hash = std::array<std::uint8_t, 32>;

std::string to_hex(std::string_view bytes);
std::string to_hex(const Hash& hash);
Result<Hash> hash_from_hex(std::string_view text);

// A reusable digest; OpenSSL's set-up costs more than hashing an event.
class Sha256 final {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  Hash operator()(std::initializer_list<std::string_view> parts);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

class LeafHasher final {
 public:
  explicit LeafHasher(std::string salt) : salt_(std::move(salt)) {}
  // `stored` are the bytes in the journal, event what they decode to.
  Hash leaf(const Envelope& event, std::string_view stored);
  Hash gap_leaf(std::uint64_t sequence);
  Sha256& digest() { return digest_; }

 private:
  std::string salt_;
  std::string header_;
  Sha256 digest_;
};

// The right edge of the tree: enough to add leaves and to tell the root.
class Frontier final {
 public:
  std::uint64_t size() const { return size_; }
  void add(const Hash& leaf);
  Hash root() const;  // of the empty tree: SHA-256 of nothing
  std::string save() const;
  static Result<Frontier> load(std::string_view bytes);

 private:
  std::uint64_t size_ = 0;
  std::vector<Hash> peaks_;  // of the perfect subtrees, largest first
};

// Proofs, from the leaf hashes of the whole tree (RFC 6962 2.1.1 and 2.1.2).
Hash tree_root(std::span<const Hash> leaves);
std::vector<Hash> inclusion_proof(std::span<const Hash> leaves, std::uint64_t index);
bool verify_inclusion(const Hash& leaf, std::uint64_t index, std::uint64_t size, std::span<const Hash> proof,
                      const Hash& root);
std::vector<Hash> consistency_proof(std::span<const Hash> leaves, std::uint64_t old_size);
bool verify_consistency(std::uint64_t old_size, std::uint64_t new_size, const Hash& old_root,
                        const Hash& new_root, std::span<const Hash> proof);

}  // namespace decklog::persistence
