// Bundles from anywhere: garbage, damaged, huge, of other epochs, from devices whose clock was stepped. What
// is no log is refused with its place; what is one is never said to differ because of that.
#include <gmock/gmock.h>

#include <boost/crc.hpp>
#include <fstream>

#include "services/audit/diff.hpp"
#include "services/audit/log_source.hpp"
#include "services/audit/minimise.hpp"
#include "services/audit/replay.hpp"
#include "services/audit/what_if.hpp"
#include "tests/services/audit/audit_fixture.hpp"

namespace decklog::audit {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kHead = 12;

class HostileBundleTest : public AuditTest {
 protected:
  std::string bytes_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Result<std::unique_ptr<BundleReader>> open_bytes(const std::string& bytes) {
    std::ofstream(path("hostile.dlb"), std::ios::binary) << bytes;
    return BundleReader::open(path("hostile.dlb"));
  }
  static std::string record(char kind, std::string_view bytes) {
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data(), bytes.size());
    std::string out(1, kind);
    for (const std::uint64_t number : {std::uint64_t{bytes.size()}, std::uint64_t{crc.checksum()}}) {
      for (int i = 0; i < 4; ++i) out += static_cast<char>(number >> (8 * i));
    }
    return out + std::string(bytes);
  }
  // Honest in every way there is to look at it.
  void expect_honest(const persistence::JournalReader& log) {
    const auto replayed = replay_agent(log, {});
    EXPECT_TRUE(replayed.honest());
    EXPECT_GT(replayed.inputs, 0u);
    EXPECT_THAT(replayed.not_proven, IsEmpty());
    EXPECT_EQ(replayed.state_hash, replay_agent(log, {}).state_hash);
    const auto told = what_if(log, {});
    ASSERT_TRUE(told) << describe(told.error());
    EXPECT_FALSE(told->departure);
    EXPECT_THAT(told->streams, IsEmpty());
    EXPECT_FALSE(minimise(log, path("small.dlb"))) << "there is no divergence to make small";
  }
};

TEST_F(HostileBundleTest, WhatIsNoLogIsRefused) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  const std::pair<std::string, Errc> cases[] = {
      {"", Errc::kMalformed},
      {"DLB1", Errc::kMalformed},
      {"PK\x03\x04 and so on", Errc::kMalformed},
      {std::string(5000, '\0'), Errc::kMalformed},
      {whole.substr(1), Errc::kMalformed},
      {whole.substr(0, kHead), Errc::kCorrupt},
      {whole + whole, Errc::kCorrupt},
      {whole + whole.substr(kHead), Errc::kCorrupt},
      {whole.substr(0, kHead) + record('Z', std::string(16, '\0')), Errc::kCorrupt},
      {whole.substr(0, kHead) + record('E', "no event"), Errc::kMalformed}};
  for (const auto& [bytes, code] : cases) {
    const auto opened = open_bytes(bytes);
    ASSERT_FALSE(opened) << bytes.size() << " bytes";
    EXPECT_THAT(opened.error().where, HasSubstr("hostile.dlb"));
    const bool refused = opened.error().code == code || opened.error().code == Errc::kCorrupt;
    EXPECT_TRUE(refused) << bytes.size() << " bytes: " << describe(opened.error());
  }
}

TEST_F(HostileBundleTest, ALengthThatReachesBeyondTheFileIsRefusedWithItsPlace) {
  std::string bytes = bytes_of(bundle("whole.dlb"));
  for (std::size_t i = 1; i <= 4; ++i) bytes[kHead + i] = '\xff';
  const auto opened = open_bytes(bytes);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().where, HasSubstr("byte 12"));
}

TEST_F(HostileBundleTest, MoreThanAGigabyteIsRefusedUnread) {
  std::ofstream(path("huge.dlb"), std::ios::binary) << kBundleMagic;
  fs::resize_file(path("huge.dlb"), kMaxBundleBytes + 1);  // takes no room on the disk
  const auto opened = BundleReader::open(path("huge.dlb"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kTooLarge);
}

// Each byte is under a checksum, but for the header and the kinds of records.
TEST_F(HostileBundleTest, AFlippedBitIsFoundOrChangesNothing) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  const std::string hash = replay_agent(*open(path("whole.dlb")), {}).state_hash;
  for (std::size_t at = 0; at < whole.size(); at += 37) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    const auto opened = open_bytes(bytes);
    if (!opened) continue;
    const auto replayed = replay_agent(**opened, {});
    EXPECT_TRUE(replayed.honest()) << "byte " << at;
    EXPECT_TRUE(replayed.state_hash == hash || !replayed.not_proven.empty()) << "byte " << at;
  }
}

TEST_F(HostileBundleTest, RecordsThatThisBuildDoesNotKnowArePassedOver) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  const auto log = open_bytes(whole.substr(0, kHead) + record('Q', "of a later build") + whole.substr(kHead));
  ASSERT_TRUE(log) << describe(log.error());
  expect_honest(**log);
}

TEST_F(HostileBundleTest, ABundleWithoutItsEndSaysSo) {
  std::string bytes = bytes_of(bundle("whole.dlb"));
  bytes.resize(bytes.size() - record('Z', std::string(16, ' ')).size());
  const auto log = open_bytes(bytes);
  ASSERT_TRUE(log) << describe(log.error());
  EXPECT_THAT(replay_agent(**log, {}).not_proven, Contains(HasSubstr("no end mark")));
  EXPECT_THAT(replay_agent(*open(path("whole.dlb")), {}).not_proven, IsEmpty());
}

// A device that was given a new journal tells the same life under another epoch.
TEST_F(HostileBundleTest, LogsOfTwoEpochsAreHeldSideBySide) {
  const std::string whole = bytes_of(bundle("whole.dlb"));
  std::string other = whole;
  other[kBundleMagic.size()] = static_cast<char>(other[kBundleMagic.size()] + 1);
  const auto log = open_bytes(other);
  ASSERT_TRUE(log);
  const auto first = open(path("whole.dlb"));
  EXPECT_NE((*log)->epoch(), first->epoch());
  expect_honest(**log);
  EXPECT_TRUE(diff_logs(*first, **log).equal());
}

TEST_F(HostileBundleTest, NoStepOfTheClockIsADivergence) {
  constexpr std::int64_t kYear = 365ll * 86400 * 1'000'000'000;
  const std::uint64_t middle = sim_.journal.durable_sequence().value / 2;
  for (const std::int64_t step : {kYear, -kYear, std::int64_t{-1'700'000'000'000'000'000}}) {
    // Between steps of the core: an input and its decisions have one time.
    Sequence from;
    const auto log = open(bundle("stepped.dlb", [&](Envelope& event) {
      const bool input = info(event.fact).kind == EventKind::kInput;
      if (!from && event.sequence.value > middle && input) from = event.sequence;
      if (from) event.time.wall.ns += step;
      return true;
    }));
    SCOPED_TRACE(step);
    expect_honest(*log);
    EXPECT_TRUE(diff_logs(*open(bundle("whole.dlb")), *log).equal());
  }
}

}  // namespace
}  // namespace decklog::audit
