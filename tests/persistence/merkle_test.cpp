// The tree against RFC 6962's own definition, written the slow way, and against the published vectors.
#include "persistence/merkle.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "events/codec.hpp"
#include "persistence/crc32c.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {

std::string_view view(const Hash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

Hash leaf_of(std::string_view data) {
  return Sha256()({std::string_view("\0", 1), data});
}

// MTH of RFC 6962 2.1.
Hash by_definition(std::span<const Hash> leaves) {
  if (leaves.empty()) return Sha256()({});
  if (leaves.size() == 1) return leaves[0];
  std::size_t k = 1;
  while (k * 2 < leaves.size()) k *= 2;
  return Sha256()({"\x01", view(by_definition(leaves.first(k))), view(by_definition(leaves.subspan(k)))});
}

std::vector<Hash> some_leaves(std::size_t count) {
  std::vector<Hash> leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(leaf_of(std::to_string(i)));
  return leaves;
}

TEST(Crc32c, MatchesThePublishedCheckValueBothWays) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c_portable("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  rc::check("both forms agree, in one piece and in two", [](const std::string& a, const std::string& b) {
    RC_ASSERT(crc32c(a + b) == crc32c_portable(a + b));
    RC_ASSERT(crc32c(b, crc32c(a)) == crc32c(a + b));
  });
}

// Leaves and roots of the Certificate Transparency reference tests.
TEST(Merkle, MatchesTheReferenceVectors) {
  const std::vector<std::string> inputs = {
      std::string(),
      std::string(1, '\0'),
      "\x10",
      "\x20\x21",
      "\x30\x31",
      "\x40\x41\x42\x43",
      "\x50\x51\x52\x53\x54\x55\x56\x57",
      "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f"};
  const std::vector<std::string> roots = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                          "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                          "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                          "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                          "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                          "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                          "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                          "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  Frontier frontier;
  EXPECT_EQ(to_hex(frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    frontier.add(leaf_of(inputs[i]));
    EXPECT_EQ(to_hex(frontier.root()), roots[i]) << i + 1 << " leaves";
  }
}

TEST(Merkle, FrontierAgreesWithTheDefinitionAndSurvivesSaving) {
  const auto leaves = some_leaves(130);
  Frontier frontier;
  for (std::size_t size = 0; size <= leaves.size(); ++size) {
    ASSERT_EQ(frontier.size(), size);
    ASSERT_EQ(frontier.root(), by_definition(std::span(leaves).first(size))) << size;
    auto loaded = Frontier::load(frontier.save());
    ASSERT_TRUE(loaded);
    ASSERT_EQ(loaded->root(), frontier.root());
    frontier = *loaded;
    if (size < leaves.size()) frontier.add(leaves[size]);
  }
}

TEST(Merkle, RefusesAFrontierOfTheWrongShape) {
  Frontier frontier;
  for (const Hash& leaf : some_leaves(5)) frontier.add(leaf);
  const std::string saved = frontier.save();
  for (const std::string& bad : {std::string(), saved.substr(0, 15), saved.substr(0, saved.size() - 1),
                                 saved + "x", "X" + saved.substr(1)}) {
    EXPECT_TRUE(Frontier::load(bad).has_error());
  }
}

TEST(Merkle, InclusionProofsHoldForTheirLeafOnly) {
  for (const std::size_t size : {1, 2, 3, 7, 8, 9, 33}) {
    const auto leaves = some_leaves(size);
    const Hash root = tree_root(leaves);
    for (std::size_t index = 0; index < size; ++index) {
      auto proof = inclusion_proof(leaves, index);
      ASSERT_TRUE(verify_inclusion(leaves[index], index, size, proof, root)) << index << " of " << size;
      EXPECT_FALSE(verify_inclusion(leaf_of("other"), index, size, proof, root));
      EXPECT_FALSE(verify_inclusion(leaves[index], index, size, proof, leaf_of("root")));
      if (size > 1) {
        EXPECT_FALSE(verify_inclusion(leaves[index], (index + 1) % size, size, proof, root));
      }
      proof.push_back(root);
      EXPECT_FALSE(verify_inclusion(leaves[index], index, size, proof, root));
    }
    EXPECT_FALSE(verify_inclusion(leaves[0], size, size, inclusion_proof(leaves, 0), root));
  }
}

TEST(Merkle, ConsistencyProofsHoldForPrefixesOnly) {
  const auto leaves = some_leaves(40);
  for (std::size_t size = 1; size <= leaves.size(); ++size) {
    const auto now = std::span(leaves).first(size);
    for (std::size_t old = 1; old <= size; ++old) {
      const auto proof = consistency_proof(now, old);
      const Hash before = tree_root(now.first(old));
      ASSERT_TRUE(verify_consistency(old, size, before, tree_root(now), proof)) << old << " in " << size;
      if (old < size) {
        EXPECT_FALSE(verify_consistency(old, size, leaf_of("other"), tree_root(now), proof));
        EXPECT_FALSE(verify_consistency(old, size, before, leaf_of("other"), proof));
        auto longer = proof;
        longer.push_back(before);
        EXPECT_FALSE(verify_consistency(old, size, before, tree_root(now), longer));
      }
    }
  }
}

TEST(LeafHasher, DependsOnEnvelopePayloadAndSalt) {
  LeafHasher leaves(std::string(32, 's'));
  const Envelope event = event_at(7);
  const std::string stored = encode(event);
  const Hash leaf = leaves.leaf(event, stored);
  EXPECT_EQ(leaves.leaf(event, stored), leaf);
  EXPECT_NE(LeafHasher(std::string(32, 't')).leaf(event, stored), leaf);
  EXPECT_NE(leaves.leaf(event, stored + "x"), leaf);
  Envelope other = event;
  other.time.mono.ns += 1;
  EXPECT_NE(leaves.leaf(other, stored), leaf);
  other = event;
  other.stream.value += "x";
  EXPECT_NE(leaves.leaf(other, stored), leaf);
  EXPECT_NE(leaves.gap_leaf(7), leaves.gap_leaf(8));
}

// The header and the inner digest are enough for the leaf: the payload itself may go.
TEST(LeafHasher, KeepsTheLeafOfAnEventOfAnUnknownType) {
  LeafHasher leaves(std::string(32, 's'));
  const Envelope event = event_at(7);
  Envelope seen_by_older_build = event;
  seen_by_older_build.fact = UnknownFact{static_cast<std::uint8_t>(event.fact.index())};
  const std::string stored = encode(event);
  EXPECT_EQ(leaves.leaf(seen_by_older_build, stored), leaves.leaf(event, stored));
}

}  // namespace
}  // namespace decklog::persistence
