// The pure parts: expiry clock, priority picker, stored formats.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>

#include "persistence/message_store_clock.hpp"
#include "persistence/message_store_format.hpp"
#include "persistence/message_store_lanes.hpp"

namespace decklog::persistence {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
const BootId kOne{"boot-1"}, kTwo{"boot-2"}, kThree{"boot-3"};

Instant at(std::int64_t wall_s, std::int64_t mono_s) {
  return {{wall_s * kSecond}, {mono_s * kSecond}};
}

TEST(ExpiryClock, RunsWithTheMonotonicClockWhateverTheWallClockDoes) {
  ExpiryClock clock(kOne, at(1000, 10));
  EXPECT_EQ(clock.advance(at(1005, 15)).ns, 5 * kSecond);
  EXPECT_EQ(clock.advance(at(900'000, 16)).ns, 6 * kSecond);
  EXPECT_EQ(clock.advance(at(3, 17)).ns, 7 * kSecond);
}

TEST(ExpiryClock, GoesOnInTheSameBootAfterARestart) {
  ExpiryClock clock(kOne, at(1000, 10));
  clock.advance(at(1010, 20));
  auto again = ExpiryClock::restore(clock.save(), kOne, at(50, 45));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->now().ns, 35 * kSecond);
}

TEST(ExpiryClock, CountsTheTimeOffByTheWallClock) {
  ExpiryClock clock(kOne, at(1000, 10));
  clock.advance(at(1010, 20));
  auto again = ExpiryClock::restore(clock.save(), kTwo, at(1110, 3));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->now().ns, 110 * kSecond);
  EXPECT_FALSE(again->waiting_for_wall_clock());
}

TEST(ExpiryClock, PaysTheTimeOffWhenTheWallClockIsSetLater) {
  ExpiryClock clock(kOne, at(1000, 10));
  auto again = ExpiryClock::restore(clock.save(), kTwo, at(5, 3));  // no battery clock: comes up in 1970
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->waiting_for_wall_clock());
  EXPECT_EQ(again->advance(at(25, 23)).ns, 20 * kSecond);
  EXPECT_EQ(again->advance(at(1300, 33)).ns,
            300 * kSecond);  // set: 300 s since the last reading before the cut
  EXPECT_FALSE(again->waiting_for_wall_clock());
  EXPECT_EQ(again->advance(at(9'999'999, 34)).ns, 301 * kSecond);
}

TEST(ExpiryClock, KeepsAnUnpaidDebtOverASecondCut) {
  ExpiryClock clock(kOne, at(1000, 10));
  auto second = ExpiryClock::restore(clock.save(), kTwo, at(5, 3));
  ASSERT_TRUE(second);
  second->advance(at(15, 13));
  auto third = ExpiryClock::restore(second->save(), kThree, at(2000, 1));
  ASSERT_TRUE(third);
  EXPECT_EQ(third->now().ns, 1000 * kSecond);
}

TEST(ExpiryClock, RefusesDamagedState) {
  EXPECT_EQ(ExpiryClock::restore("nonsense", kOne, at(1, 1)).error().code, Errc::kCorrupt);
}

TEST(ExpiryClock, NeverGoesBack) {
  rc::check([] {
    const auto steps =
        *rc::gen::container<std::vector<std::tuple<std::int32_t, std::int32_t, bool>>>(rc::gen::tuple(
            rc::gen::arbitrary<std::int32_t>(), rc::gen::inRange(0, 1000), rc::gen::arbitrary<bool>()));
    ExpiryClock clock(BootId{"0"}, at(1000, 0));
    StoreTime last = clock.now();
    std::int64_t mono = 0;
    int boot = 0;
    for (const auto& [wall, elapsed, reboot] : steps) {
      mono += elapsed;
      if (reboot) {
        mono = elapsed;
        clock = *ExpiryClock::restore(clock.save(), BootId{std::to_string(++boot)}, at(wall, mono));
      } else {
        clock.advance(at(wall, mono));
      }
      RC_ASSERT(clock.now() >= last);
      last = clock.now();
    }
  });
}

TEST(PriorityPicker, ServesInProportionAndStarvesNobody) {
  PriorityPicker picker;
  for (std::uint8_t i = 0; i < kPriorities; ++i) picker.set_backlog(i, 1000);
  std::array<int, kPriorities> turns{};
  EXPECT_EQ(picker.pick(), 0);
  ++turns[0];
  for (int i = 1; i < 1300; ++i) ++turns.at(*picker.pick());
  EXPECT_EQ(turns[0], 64 * 10);
  for (std::size_t i = 0; i < kPriorities; ++i) EXPECT_EQ(turns[i], PriorityPicker::kWeights[i] * 10);
}

TEST(PriorityPicker, PassesOverEmptyPrioritiesAndSaysWhenAllAre) {
  PriorityPicker picker;
  EXPECT_FALSE(picker.pick());
  picker.set_backlog(7, 1);
  EXPECT_EQ(picker.pick(), 7);
  picker.set_backlog(2, 1);
  int two = 0;
  for (int i = 0; i < 17; ++i) two += picker.pick() == 2 ? 1 : 0;
  EXPECT_EQ(two, 16);
}

TEST(Lanes, NumberOfASenderIsFixedForEver) {
  EXPECT_EQ(lane_of("device1/sensor"), 0x479fbe6c9e4f6285ull) << std::hex << lane_of("device1/sensor");
  EXPECT_NE(lane_of(""), 0u);
}

Chunk sample_chunk() {
  Chunk chunk;
  chunk.accepted.ns = 42;
  chunk.queues = {7, 300};
  chunk.bytes = "headbodyHB";
  chunk.messages = {{100, 11, 0, 4, 4}, {105, 12, 8, 1, 1}};
  chunk.refs = {{{0}, 0, 1}, {{900}, 3, 2}, {{800}, 2, 0}, {{0}, 1, 255}};
  return chunk;
}

TEST(Format, ChunkComesBackAsWritten) {
  const Chunk chunk = sample_chunk();
  const auto back = decode_chunk(100, encode_chunk_head(chunk) + chunk.bytes);
  ASSERT_TRUE(back) << describe(back.error());
  EXPECT_EQ(back->queues, chunk.queues);
  EXPECT_EQ(back->bytes, chunk.bytes);
  EXPECT_EQ(back->accepted, chunk.accepted);
  ASSERT_EQ(back->messages.size(), 2u);
  EXPECT_EQ(back->messages[1].id, 105u);
  EXPECT_EQ(back->messages[1].lane, 12u);
  EXPECT_EQ(back->messages[1].offset, 8u);
  EXPECT_EQ(back->ref(0, 1).expires.ns, 900);
  EXPECT_EQ(back->ref(1, 1).flags, 255);
  const auto entry = decode_entry(100, encode_entry(chunk, 1));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->last, 105u);
  EXPECT_EQ(entry->messages, 2u);
  EXPECT_EQ(entry->bytes, 10u);
  EXPECT_EQ(entry->first_expiry.ns, 900);
  EXPECT_EQ(entry->sharers, std::vector<std::uint32_t>{7});
}

TEST(Format, EveryPrefixAndEveryFlippedByteIsRefusedOrHarmless) {
  const Chunk chunk = sample_chunk();
  const std::string value = encode_chunk_head(chunk) + chunk.bytes;
  for (std::size_t size = 0; size < value.size(); ++size) {
    EXPECT_FALSE(decode_chunk(100, std::string_view(value).substr(0, size))) << size;
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    std::string damaged = value;
    damaged[i] = static_cast<char>(damaged[i] ^ 0xff);
    const auto back = decode_chunk(100, damaged);
    if (!back) continue;
    for (const MessageSlot& slot : back->messages) {
      EXPECT_LE(slot.offset + slot.size(), back->bytes.size());
    }
  }
}

TEST(Format, DecodersTakeAnyBytes) {
  rc::check([](const std::string& bytes) {
    const std::string value = std::string(1, kFormatVersion) + bytes;
    (void)decode_chunk(1, value);
    (void)decode_entry(1, value);
    (void)decode_queue_state(value);
    (void)decode_queue_name(value);
    (void)decode_ledger(value);
    (void)decode_global(value);
    (void)decode_dead_letter(value);
    (void)ExpiryClock::restore(bytes, kOne, at(1, 1));
  });
}

TEST(Format, ANewerVersionIsNamedAsSuch) {
  std::string value = encode_global({});
  value[0] = kFormatVersion + 1;
  EXPECT_EQ(decode_global(value).error().code, Errc::kUnsupported);
}

TEST(Format, DropReasonsAreBounded) {
  Ledger ledger;
  for (int i = 0; i < 100; ++i) count_drop(ledger, "reason " + std::to_string(i), 1);
  EXPECT_LE(ledger.dropped.size(), kMaxDropReasons + 1);
  EXPECT_EQ(ledger.counters.dropped, 100u);
}

}  // namespace
}  // namespace decklog::persistence
