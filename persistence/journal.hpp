// The log of one service: append-only events in sequence order, snapshots beside them.
//
// Who: one writer (the service's loop) and any number of readers, each from its own thread. Reading never
// blocks the writer and never shows an event that is not durable. append() returns at once; steps that arrive
// while a sync is in flight share the next one. Done runs exactly once for each call, in call order, on the
// journal's committer thread (a MemoryJournal may run it before append returns): post to your executor and
// return. A step is atomic: all of its events or none. After a failed step every step behind it fails with
// the same error and next_sequence() goes back to what is stored; a step with another sequence than expected
// is kConflict. kNoSpace: the disk or the byte budget is full; the journal heals by itself, the caller counts
// what was not written and appends GapRecorded(kNotWritten) when appends work again. Sequences are never used
// twice: a lost tail stays a gap, and the next event comes after it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/event.hpp"
#include "events/result.hpp"

namespace decklog::persistence {

inline constexpr std::uint64_t kDefaultBudgetBytes = 64ull << 20;
inline constexpr std::uint64_t kLeastBudgetBytes = 4ull << 20;
inline constexpr std::size_t kMaxSnapshotBytes = 16u << 20;
inline constexpr std::size_t kMaxStepEvents = 65536;

// Folded state of the service's core. Only what a snapshot of this name covers may be compacted.
inline constexpr std::string_view kStateSnapshot = "state";
// Frontier of the Merkle tree (TreeHasher::save); kept as long as the log reaches back to it.
inline constexpr std::string_view kTreeSnapshot = "tree";

struct Snapshot {
  Sequence through;  // state after this event
  std::string name;  // kStateSnapshot, kTreeSnapshot or another, at most 64 characters
  std::string bytes;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

// Events first..last are not (all) readable. Compacted ranges may still hold lifecycle events.
struct MissingRange {
  GapKind kind = GapKind::kLost;
  Sequence first, last;
  std::string detail;
};

// Both may return false to stop early. Without `missing` a range that compaction removed is passed over and
// any other missing range ends the read with kCorrupt, `where` naming its first sequence.
struct Visitor {
  std::function<bool(const Envelope&)> event;
  std::function<bool(const MissingRange&)> missing = {};
};
// The stored bytes of one event, checked against their crc32c but not decoded. Valid during the call.
struct RawEvent {
  Sequence sequence;
  bool lifecycle = false;
  std::string_view bytes;
};
struct RawVisitor {
  std::function<bool(const RawEvent&)> event;
  std::function<bool(const MissingRange&)> missing = {};
};

class JournalReader {
 public:
  virtual ~JournalReader() = default;

  virtual Sequence first_sequence() const = 0;    // oldest event kept; none when empty
  virtual Sequence complete_from() const = 0;     // from here on compaction has removed nothing
  virtual Sequence durable_sequence() const = 0;  // newest durable event; none when empty
  virtual std::uint64_t epoch() const = 0;        // changes when the journal was lost and begun anew
  // Events with from <= sequence <= to, in order.
  virtual Status read(Sequence from, Sequence to, const Visitor& visitor) const = 0;
  virtual Status read_raw(Sequence from, Sequence to, const RawVisitor& visitor) const = 0;
  // One stream only; missing ranges are reported as in read().
  virtual Status read_stream(const StreamId& stream, Sequence from, const Visitor& visitor) const = 0;
  // Newest snapshot of that name with through <= at; kNotFound when there is none.
  virtual Result<Snapshot> latest_snapshot(std::string_view name, Sequence at) const = 0;
  // Secret of this journal that salts the leaves of its Merkle tree (32 bytes).
  virtual std::string leaf_salt() const = 0;
};

struct JournalStats {
  std::uint64_t bytes_used = 0;  // on disk, all files of the store
  std::uint64_t bytes_budget = 0;
  std::uint64_t events = 0;  // appended since open; the same for those below
  std::uint64_t events_refused = 0;
  std::uint64_t groups = 0;
  std::uint64_t syncs = 0;
  std::uint64_t snapshots = 0;
  std::uint64_t compactions = 0;
  std::int64_t commit_last_ns = 0;
  std::int64_t commit_max_ns = 0;
  std::int64_t commit_total_ns = 0;
  bool degraded = false;  // refuses events for lack of space or after an I/O error
};

class Journal : public JournalReader {
 public:
  using Done = std::function<void(Status)>;

  virtual Sequence next_sequence() const = 0;
  virtual void append(std::span<const Envelope> step, Done done) = 0;
  // Queued behind the steps before it; same Done rules. The journal keeps the newest few of each name and
  // every one that older history needs.
  virtual void put_snapshot(Snapshot snapshot, Done done) = 0;
  // Blocks until everything queued is durable or failed; the first failure since the last flush.
  virtual Status flush() = 0;
  virtual JournalStats stats() const = 0;
};

// What the store asks of the service's loop. Called on a thread of the journal: post and return.
struct JournalHooks {
  // Compaction reclaimed space, or damage showed while running: append this fact. Offered again at the next
  // open until it is in the log.
  std::function<void(const GapRecorded&)> gap;
  // Past three quarters of the budget and nothing newer to compact up to: put a kStateSnapshot soon.
  std::function<void()> snapshot_wanted;
};

// What open() found. `gaps` are facts the loop appends first, right after ServiceStarted.
struct JournalReport {
  std::uint64_t epoch = 0;
  Sequence first, last;  // none when empty
  bool created = false;  // no journal was here before
  bool clean = false;    // the last writer closed it in order
  bool damaged = false;
  std::string damage;  // for people, empty when not damaged
  std::vector<GapRecorded> gaps;
};

}  // namespace decklog::persistence
