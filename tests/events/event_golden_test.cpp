// Bytes written once, read for ever: one stored event of every type. A build that reads or writes one of them
// differently cannot read the logs that are out there. DECKLOG_REWRITE=1 writes those of new types; existing
// ones are never replaced.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "events/codec.hpp"
#include "tests/events/sample_facts.hpp"

namespace decklog {
namespace {

constexpr std::uint64_t kSeed = 20261124;

std::string golden_path(std::size_t type) {
  std::string number = std::to_string(type);
  if (number.size() < 2) number.insert(0, "0");
  return DECKLOG_SOURCE_DIR "/tests/events/golden/" + number + "-" + std::string(fact_info(type).schema) +
         ".bin";
}

class Golden : public testing::TestWithParam<std::size_t> {};

TEST_P(Golden, BytesReadAndWriteAsTheyAlwaysDid) {
  const std::string path = golden_path(GetParam());
  const Envelope event = fixture::make_event(GetParam(), kSeed + GetParam(), fixture::TextKind::kPlain);
  if (std::getenv("DECKLOG_REWRITE") && !std::filesystem::exists(path))
    std::ofstream(path, std::ios::binary) << encode(event);
  std::ifstream in(path, std::ios::binary);
  ASSERT_TRUE(in) << path << " is missing: DECKLOG_REWRITE=1 writes it";
  std::stringstream stored;
  stored << in.rdbuf();
  const auto back = decode(stored.str());
  ASSERT_TRUE(back) << describe(back.error());
  EXPECT_EQ(*back, event);
  EXPECT_EQ(encode(*back), stored.str());
}

INSTANTIATE_TEST_SUITE_P(Facts, Golden, testing::Range<std::size_t>(1, kFactTypes),
                         [](const auto& info) { return std::string(fact_info(info.param).schema); });

TEST(GoldenFiles, AreOneForEachType) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DECKLOG_SOURCE_DIR "/tests/events/golden"))
    files += entry.path().extension() == ".bin" ? 1 : 0;
  EXPECT_EQ(files, kFactTypes - 1);
}

}  // namespace
}  // namespace decklog
