#include "services/mqtt/outbox.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <deque>

#include "services/mqtt/decoder.hpp"
#include "services/mqtt/session.hpp"

namespace decklog::mqtt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Outbox::Limits kLimits{4, 16, 1000};
constexpr std::size_t kNoLimit = 1u << 20;

Outgoing local(Qos qos, std::uint64_t token = 0) {
  Outgoing entry;
  entry.topic = "t";
  entry.payload = "payload";
  entry.qos = qos;
  entry.token = token;
  return entry;
}

Outgoing stored(std::uint64_t id, Qos qos = Qos::kAtLeastOnce) {
  auto entry = local(qos);
  entry.stored = id;
  entry.packet_id = static_cast<std::uint16_t>(id);
  return entry;
}

// "P<id>" first sending, "D<id>" duplicate, "R<id>" PUBREL.
std::vector<std::string> sent(Outbox& box, const Outbox::Limits& limits = kLimits,
                              std::size_t room = kNoLimit) {
  std::string bytes;
  box.pump(bytes, room, limits);
  std::vector<std::string> packets;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const auto frame = next_frame(rest, kMaxPacketBytes);
    EXPECT_EQ(frame.status, Frame::Status::kComplete);
    PublishPacket publish;
    std::uint16_t id = 0;
    if (frame.type == PacketType::kPublish) {
      EXPECT_EQ(decode(frame, publish), Violation::kNone);
      packets.push_back((publish.duplicate ? "D" : "P") + std::to_string(publish.packet_id));
    } else {
      EXPECT_EQ(frame.type, PacketType::kPubrel);
      EXPECT_EQ(decode_packet_id(frame, id), Violation::kNone);
      packets.push_back("R" + std::to_string(id));
    }
    rest.remove_prefix(frame.raw.size());
  }
  return packets;
}

TEST(Outbox, KeepsTheWindow) {
  Outbox box;
  for (int i = 0; i < 6; ++i) box.push(local(Qos::kAtLeastOnce));
  EXPECT_THAT(sent(box), ElementsAre("P1", "P2", "P3", "P4"));
  EXPECT_THAT(sent(box), IsEmpty());
  EXPECT_TRUE(box.on_puback(1).known);
  EXPECT_THAT(sent(box), ElementsAre("P5"));
  // Out of order: the window still begins at the oldest unacknowledged one.
  EXPECT_TRUE(box.on_puback(3).known);
  EXPECT_THAT(sent(box), IsEmpty());
  EXPECT_TRUE(box.on_puback(2).known);
  EXPECT_THAT(sent(box), ElementsAre("P6"));
}

TEST(Outbox, StopsWhenTheBufferIsFull) {
  Outbox box;
  for (int i = 0; i < 4; ++i) box.push(local(Qos::kAtLeastOnce));
  EXPECT_THAT(sent(box, kLimits, 1), ElementsAre("P1"));
  EXPECT_THAT(sent(box, kLimits, 20), ElementsAre("P2", "P3"));
}

TEST(Outbox, UnknownAcknowledgementsChangeNothing) {
  Outbox box;
  box.push(local(Qos::kAtLeastOnce));
  box.push(local(Qos::kExactlyOnce));
  EXPECT_FALSE(box.on_puback(1).known);  // not sent yet
  sent(box);
  EXPECT_FALSE(box.on_puback(9).known);
  EXPECT_FALSE(box.on_puback(2).known);   // is QoS 2
  EXPECT_FALSE(box.on_pubrec(1).known);   // is QoS 1
  EXPECT_FALSE(box.on_pubcomp(2).known);  // not received yet
  EXPECT_TRUE(box.on_puback(1).known);
  EXPECT_FALSE(box.on_puback(1).known);
}

TEST(Outbox, Qos2GoesThroughAllFourSteps) {
  Outbox box;
  box.push(local(Qos::kExactlyOnce, 77));
  EXPECT_THAT(sent(box), ElementsAre("P1"));
  EXPECT_EQ(box.on_pubrec(1).token, 77u);
  EXPECT_FALSE(box.on_pubrec(1).known);
  box.release_durable(1);
  EXPECT_TRUE(box.on_pubcomp(1).known);
  EXPECT_TRUE(box.empty());
}

// [MQTT-4.4.0-1, 4.6.0-1]: what is unacknowledged goes again, same identifiers, same order, DUP set.
TEST(Outbox, ResumeSendsAgainInOrder) {
  Outbox box;
  box.push(local(Qos::kAtLeastOnce));
  box.push(local(Qos::kExactlyOnce));
  box.push(local(Qos::kExactlyOnce));
  sent(box);
  box.on_pubrec(2);
  box.release_durable(2);
  box.push(local(Qos::kAtLeastOnce));
  box.suspend();
  box.resume();
  EXPECT_THAT(sent(box), ElementsAre("D1", "R2", "D3", "P4"));
}

// A release that is not durable yet must not be promised to the peer.
TEST(Outbox, ReleaseWaitsUntilItIsDurable) {
  Outbox box;
  box.push(local(Qos::kExactlyOnce));
  sent(box);
  box.on_pubrec(1);
  box.suspend();
  box.resume();
  EXPECT_THAT(sent(box), IsEmpty());
  box.release_durable(1);
  box.resume();
  EXPECT_THAT(sent(box), ElementsAre("R1"));
}

TEST(Outbox, StoredEntriesKeepTheirIdAndGoBackToTheStore) {
  Outbox box;
  box.push(stored(500));
  box.push(local(Qos::kAtLeastOnce));
  box.push(stored(502, Qos::kExactlyOnce));
  EXPECT_TRUE(box.uses(500));
  EXPECT_THAT(sent(box), ElementsAre("P500", "P1", "P502"));
  EXPECT_EQ(box.on_pubrec(502).stored, 502u);
  box.suspend();
  EXPECT_EQ(box.size(), 2u);  // the local one and the release
  EXPECT_FALSE(box.uses(500));
  box.push_released(9);
  box.release_durable(502);
  box.resume();
  EXPECT_THAT(sent(box), ElementsAre("D1", "R502", "R9"));
  EXPECT_TRUE(box.on_pubcomp(9).known);
}

TEST(Outbox, ChosenIdsAvoidStoredOnes) {
  Outbox box;
  box.push(stored(1));
  box.push(stored(2));
  box.push(local(Qos::kAtLeastOnce));
  EXPECT_THAT(sent(box), ElementsAre("P1", "P2", "P3"));
}

TEST(Outbox, RoomIsBoundedButOneAlwaysFits) {
  Outbox box;
  EXPECT_TRUE(box.has_room(5000, kLimits));
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(box.has_room(8, kLimits));
    box.push(local(Qos::kAtLeastOnce));
  }
  EXPECT_FALSE(box.has_room(8, kLimits));
}

TEST(Outbox, WithdrawTakesOnlyUnsentMessages) {
  Outbox box;
  for (std::uint64_t token = 1; token <= 6; ++token) box.push(local(Qos::kAtLeastOnce, token));
  sent(box);
  EXPECT_FALSE(box.withdraw(1));
  EXPECT_TRUE(box.withdraw(5));
  EXPECT_THAT(box.tokens(), ElementsAre(1, 2, 3, 4, 6));
  for (std::uint16_t id = 1; id <= 4; ++id) EXPECT_TRUE(box.on_puback(id).known);
  EXPECT_THAT(sent(box), ElementsAre("P6"));
}

// What the client has seen may be taken back while it is away, but not at QoS 2: it remembers the identifier.
TEST(Outbox, WithdrawTakesWhatWasNotSentOnThisConnection) {
  Outbox box;
  box.push(local(Qos::kAtLeastOnce, 1));
  box.push(local(Qos::kExactlyOnce, 2));
  sent(box);
  EXPECT_FALSE(box.withdraw(1));
  box.suspend();
  EXPECT_TRUE(box.withdraw(1));
  EXPECT_FALSE(box.withdraw(1));
  EXPECT_FALSE(box.withdraw(2));
  box.resume();
  EXPECT_THAT(box.tokens(), ElementsAre(2));
}

// Random traffic, acks in any order, reconnects: every message is acknowledged exactly once, identifiers in
// flight are never shared, the window holds.
TEST(Outbox, ConservesMessages) {
  EXPECT_TRUE(rc::check([] {
    Outbox box;
    const Outbox::Limits limits{8, 64, 100'000};
    std::vector<std::uint16_t> flying;
    std::size_t pushed = 0;
    std::size_t acknowledged = 0;
    for (int step = 0; step < 120; ++step) {
      switch (*rc::gen::inRange(0, 4)) {
        case 0:
          if (box.has_room(8, limits)) {
            box.push(local(Qos::kAtLeastOnce, ++pushed));
          }
          break;
        case 1:
          for (const auto& name : sent(box, limits)) {
            const auto id = static_cast<std::uint16_t>(std::stoi(name.substr(1)));
            if (name[0] == 'P') {
              RC_ASSERT(std::find(flying.begin(), flying.end(), id) == flying.end());
              flying.push_back(id);
            }
          }
          RC_ASSERT(box.in_flight() <= limits.window);
          break;
        case 2:
          if (!flying.empty()) {
            const auto at = static_cast<std::size_t>(*rc::gen::inRange<std::size_t>(0, flying.size()));
            // After a reconnect it may not have been sent again yet; then the ack is not known.
            if (box.on_puback(flying[at]).known) {
              flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(at));
              ++acknowledged;
            }
          }
          break;
        default:
          if (*rc::gen::inRange(0, 5) == 0) {
            box.suspend();
            box.resume();
          }
      }
    }
    while (!box.empty()) {
      sent(box, limits);
      const auto tokens = box.tokens().size();
      for (std::uint16_t id = 1; id <= 200; ++id) acknowledged += box.on_puback(id).known ? 1 : 0;
      RC_ASSERT(box.tokens().size() < tokens);
    }
    RC_ASSERT(acknowledged == pushed);
  }));
}

TEST(Inbox, SecondCopyIsNotNew) {
  Inbox inbox;
  EXPECT_TRUE(inbox.begin(7));
  EXPECT_FALSE(inbox.begin(7));
  EXPECT_TRUE(inbox.end(7));
  EXPECT_FALSE(inbox.end(7));
  EXPECT_TRUE(inbox.begin(7));
}

}  // namespace
}  // namespace decklog::mqtt
