// Bytes and events: what goes in comes out, and what is not an event is refused without harm.
#include "events/codec.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstring>

#include "event_generated.h"
#include "tests/events/sample_facts.hpp"

namespace decklog {
namespace {

using fixture::make_event;
using fixture::TextKind;

// Every field at its default: none of them is in the bytes.
template <std::size_t... Index>
Fact blank_fact(std::size_t type, std::index_sequence<Index...>) {
  Fact fact;
  (void)((Index == type && (fact.emplace<Index>(), true)) || ...);
  return fact;
}

Envelope blank_event(std::size_t type) {
  Envelope event;
  event.fact = blank_fact(type, std::make_index_sequence<kFactTypes>());
  return event;
}

// What FlatBuffers' own verifier says, and whether what it passes is an event at all.
bool verifies(const std::string& bytes) {
  std::vector<std::uint64_t> aligned(bytes.size() / 8 + 1);
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  const auto* data = reinterpret_cast<const std::uint8_t*>(aligned.data());
  flatbuffers::Verifier verifier(data, bytes.size(), 8, 16);
  if (bytes.size() < 12 || !wire::VerifyEnvelopeBuffer(verifier)) return false;
  const auto* event = wire::GetEnvelope(data);
  const auto type = static_cast<std::size_t>(event->payload_type());
  return type != 0 && (type >= kFactTypes || event->payload() != nullptr);
}

class EachType : public testing::TestWithParam<std::size_t> {};

TEST_P(EachType, ComesBackAsItWas) {
  rc::check([type = GetParam()](std::uint64_t seed) {
    const Envelope event = make_event(type, seed, TextKind::kWild);
    const auto back = decode(encode(event));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == event);
  });
}

// A log is read into one event, over whatever was there: of its own type and of others, filled and empty.
TEST_P(EachType, OverAnEarlierEventNothingOfThatStays) {
  rc::check([type = GetParam()](std::uint64_t seed) {
    Envelope into = make_event(seed % 2 == 0 ? type : 1 + seed % (kFactTypes - 1), seed / 2, TextKind::kWild);
    Envelope event = make_event(type, seed + 1, TextKind::kWild);
    if (seed % 3 == 0) event = blank_event(type);
    RC_ASSERT(decode(encode(event), into).has_value());
    RC_ASSERT(into == event);
  });
}

// The order of the fields in the buffer must not depend on anything but the event: the tree hashes the bytes.
TEST_P(EachType, EncodesToTheSameBytesEachTime) {
  const Envelope event = make_event(GetParam(), 7, TextKind::kPlain);
  const std::string first = encode(event);
  (void)encode(make_event(1 + GetParam() % (kFactTypes - 1), 8, TextKind::kWild));
  EXPECT_EQ(encode(event), first);
  EXPECT_EQ(encode(*decode(first)), first);
}

TEST_P(EachType, IsReadFromAnyAddress) {
  const Envelope event = make_event(GetParam(), 9, TextKind::kPlain);
  const std::string bytes = encode(event);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    const std::string padded = std::string(shift, 'x') + bytes;
    const auto back = decode(std::string_view(padded).substr(shift));
    ASSERT_TRUE(back) << shift;
    EXPECT_EQ(*back, event) << shift;
  }
}

TEST_P(EachType, CutAnywhereIsRefused) {
  const Envelope event = make_event(GetParam(), 11, TextKind::kPlain);
  const std::string bytes = encode(event);
  std::size_t accepted = 0;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    // A copy of its own on the heap, so that a sanitizer sees a read past the end.
    const auto back = decode(std::string(bytes, 0, length));
    EXPECT_EQ(back.has_value(), verifies(bytes.substr(0, length))) << length;
    if (!back) {
      EXPECT_EQ(back.error().code, Errc::kCorrupt) << length;
      continue;
    }
    // Only padding behind the last byte that is used may be missing.
    ++accepted;
    EXPECT_EQ(*back, event) << length;
  }
  EXPECT_LE(accepted, 8u);
}

TEST_P(EachType, AFlippedBitIsHarmlessAndKeepsTheTypeUnlessItIsTheType) {
  const Envelope event = make_event(GetParam(), 13, TextKind::kPlain);
  const std::string bytes = encode(event);
  std::size_t refused = 0, other_type = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto back = decode(flipped);
    EXPECT_EQ(back.has_value(), verifies(flipped)) << bit;
    if (!back) {
      ++refused;
      continue;
    }
    if (back->fact.index() != event.fact.index()) ++other_type;
  }
  EXPECT_GT(refused, 0u);
  // The type is one byte, found through the envelope's vtable: its 8 bits, and offsets that lead to another
  // byte.
  EXPECT_LE(other_type, 64u);
}

INSTANTIATE_TEST_SUITE_P(Facts, EachType, testing::Range<std::size_t>(1, kFactTypes),
                         [](const auto& info) { return std::string(fact_info(info.param).schema); });

TEST(Codec, NoiseNeverBecomesAnEventWithoutItsMark) {
  rc::check([](const std::string& noise) { RC_ASSERT(!decode(noise).has_value()); });
}

TEST(Codec, NoiseBehindTheMarkIsHarmless) {
  rc::check([](std::uint64_t seed) {
    fixture::Numbers numbers(seed);
    std::string bytes = encode(make_event(1 + seed % (kFactTypes - 1), seed, TextKind::kWild));
    for (int i = 0; i < 8; ++i) bytes[numbers() % bytes.size()] = static_cast<char>(numbers());
    const auto back = decode(bytes);
    RC_ASSERT(back.has_value() == verifies(bytes));
    if (back) RC_ASSERT(back->fact.index() < kFactTypes);
  });
}

// Hundreds of names that are one and the same text would come to a thousand times the bytes they are stored
// in.
TEST(Codec, TextsOverEachOtherAreBounded) {
  flatbuffers::FlatBufferBuilder out;
  const auto name = out.CreateString(std::string(64 * 1024, 'n'));
  const auto names = out.CreateVector(std::vector(1000, name));
  wire::ModulesListedBuilder fact(out);
  fact.add_modules(names);
  const auto payload = fact.Finish();
  wire::EnvelopeBuilder table(out);
  table.add_payload_type(wire::Payload::ModulesListed);
  table.add_payload(flatbuffers::Offset<void>(payload.o));
  wire::FinishEnvelopeBuffer(out, table.Finish());
  const auto back =
      decode(std::string_view(reinterpret_cast<const char*>(out.GetBufferPointer()), out.GetSize()));
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Errc::kCorrupt);
}

TEST(Codec, RefusesWhatIsTooLarge) {
  const auto back = decode(std::string(kMaxEventBytes + 1, '\0'));
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Errc::kTooLarge);
}

TEST(Codec, CarriesTheLargestDocument) {
  Envelope event = make_event(1, 1, TextKind::kPlain);
  event.fact = DesiredReceived{.source = "uplink", .version = 1, .document = std::string(1 << 20, 'd')};
  const auto back = decode(encode(event));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, event);
}

std::string envelope_bytes(std::uint8_t type, bool with_payload) {
  flatbuffers::FlatBufferBuilder out;
  const auto reason = out.CreateString("later");
  wire::ServiceStoppedBuilder fact(out);
  fact.add_reason(reason);
  const auto payload = fact.Finish();
  wire::EnvelopeBuilder table(out);
  table.add_sequence(17);
  table.add_may_ignore(true);
  table.add_payload_type(static_cast<wire::Payload>(type));
  if (with_payload) table.add_payload(flatbuffers::Offset<void>(payload.o));
  wire::FinishEnvelopeBuffer(out, table.Finish());
  return {reinterpret_cast<const char*>(out.GetBufferPointer()), out.GetSize()};
}

TEST(Codec, ATypeOfALaterBuildIsUnknownNotWrong) {
  for (const std::size_t type : {kFactTypes, std::size_t{200}, std::size_t{255}}) {
    const auto back = decode(envelope_bytes(static_cast<std::uint8_t>(type), true));
    ASSERT_TRUE(back) << type;
    EXPECT_EQ(back->fact, Fact(UnknownFact{static_cast<std::uint8_t>(type)}));
    EXPECT_EQ(back->sequence, Sequence{17});
    EXPECT_TRUE(back->may_ignore);
  }
}

TEST(Codec, AnEventWithoutAPayloadIsRefused) {
  for (const std::uint8_t type : {0, 2}) {
    const auto back = decode(envelope_bytes(type, false));
    ASSERT_FALSE(back) << int{type};
    EXPECT_EQ(back.error().code, Errc::kCorrupt);
  }
}

// An older writer did not know the newer fields: they read as the default, zero, empty or a fresh table.
TEST(Codec, FieldsAnOlderWriterDidNotKnowReadAsDefault) {
  flatbuffers::FlatBufferBuilder out;
  const auto module = out.CreateString("sensor");
  wire::ModuleTransitionedBuilder fact(out);
  fact.add_module_(module);
  const auto payload = fact.Finish();
  wire::EnvelopeBuilder table(out);
  table.add_sequence(3);
  table.add_payload_type(wire::Payload::ModuleTransitioned);
  table.add_payload(flatbuffers::Offset<void>(payload.o));
  wire::FinishEnvelopeBuffer(out, table.Finish());
  const auto back =
      decode(std::string_view(reinterpret_cast<const char*>(out.GetBufferPointer()), out.GetSize()));
  ASSERT_TRUE(back);
  const auto& read = std::get<ModuleTransitioned>(back->fact);
  EXPECT_EQ(read.module, ModuleName("sensor"));
  EXPECT_EQ(read.trigger, "");
  EXPECT_EQ(read.effects, 0u);
  EXPECT_EQ(read.life, ModuleLife{});
}

}  // namespace
}  // namespace decklog
