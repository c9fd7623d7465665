#include "persistence/memory_journal.hpp"

#include <algorithm>
#include <chrono>

#include "events/codec.hpp"
#include "persistence/step_check.hpp"

namespace decklog::persistence {
namespace {

// What an entry costs besides its bytes, roughly: map node and string.
constexpr std::uint64_t kEntryOverheadBytes = 96;

}  // namespace

MemoryJournal::MemoryJournal(Options options) : options_(std::move(options)) {}

void MemoryJournal::append(std::span<const Envelope> step, Done done) {
  Waiting waiting{{}, std::nullopt, std::move(done), {}};
  {
    const std::lock_guard lock(mutex_);
    waiting.status = check_step(step, {next_});
    if (waiting.status.has_value()) {
      for (const Envelope& event : step) {
        waiting.events.push_back({event.sequence.value, info(event.fact).lifecycle, encode(event)});
        if (waiting.events.back().bytes.size() > kMaxEventBytes) {
          waiting.status = error(Errc::kTooLarge, "event larger than 2 MiB",
                                 "sequence " + std::to_string(event.sequence.value));
          break;
        }
      }
      if (waiting.status.has_value()) next_ += step.size();
    }
  }
  enqueue(std::move(waiting));
}

void MemoryJournal::put_snapshot(Snapshot snapshot, Done done) {
  Waiting waiting{{}, std::nullopt, std::move(done), {}};
  {
    const std::lock_guard lock(mutex_);
    waiting.status = check_snapshot(snapshot, {next_ - 1});
  }
  waiting.snapshot = std::move(snapshot);
  enqueue(std::move(waiting));
}

void MemoryJournal::enqueue(Waiting waiting) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(waiting));
  }
  if (options_.commit == Commit::kInline) commit();
}

void MemoryJournal::commit() {
  std::deque<Waiting> taken;
  std::vector<GapRecorded> gaps;
  bool want_snapshot = false;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(waiting_);
    if (taken.empty()) return;
    bool failed = false;
    for (Waiting& waiting : taken) {
      if (waiting.status.has_value() && failure_) waiting.status = *failure_;
      if (waiting.status.has_value()) waiting.status = store(waiting);
      if (waiting.status.has_error()) {
        failed = failed || waiting.status.error().code != Errc::kInvalidArgument;
        stats_.events_refused += waiting.events.size();
        if (first_failure_.has_value()) first_failure_ = waiting.status;
      }
    }
    if (failed) next_ = last_ + 1;
    ++stats_.groups;
    gaps = compact();
    if (bytes_ > options_.budget_bytes / 4 * 3 && !snapshot_wanted_) want_snapshot = snapshot_wanted_ = true;
  }
  for (Waiting& waiting : taken) {
    if (waiting.done) waiting.done(std::move(waiting.status));
  }
  for (const GapRecorded& gap : gaps) {
    if (options_.hooks.gap) options_.hooks.gap(gap);
  }
  if (want_snapshot && options_.hooks.snapshot_wanted) options_.hooks.snapshot_wanted();
}

Status MemoryJournal::store(Waiting& waiting) {
  if (waiting.snapshot) {
    if (waiting.snapshot->through.value > last_) return error(Errc::kConflict, "the events before it failed");
    keep_snapshot(std::move(*waiting.snapshot));
    ++stats_.snapshots;
    return {};
  }
  if (waiting.events.empty()) return {};
  if (waiting.events.front().sequence != last_ + 1)
    return error(Errc::kConflict, "the step before it failed");
  if (bytes_ > options_.budget_bytes) return error(Errc::kNoSpace, "byte budget reached");
  for (Stored& event : waiting.events) {
    last_ = event.sequence;
    bytes_ += event.bytes.size() + kEntryOverheadBytes;
    ++stats_.events;
    events_.emplace(event.sequence, std::move(event));
  }
  return {};
}

void MemoryJournal::keep_snapshot(Snapshot snapshot) {
  snapshots_[{snapshot.name, snapshot.through.value}] = std::move(snapshot.bytes);
  if (snapshot.name == kStateSnapshot) snapshot_wanted_ = false;
  if (snapshot.name == kTreeSnapshot) return;
  const auto begin = snapshots_.lower_bound({snapshot.name, 0});
  const auto end = snapshots_.upper_bound({snapshot.name, ~0ull});
  auto extra = static_cast<std::size_t>(std::distance(begin, end));
  for (auto it = begin; it != end && extra > kSnapshotsKept;) {
    // The newest one at or before the oldest complete event is where older history starts.
    const auto following = std::next(it);
    const bool is_base = it->first.second + 1 >= complete_from_ && complete_from_ > 1 &&
                         (following == end || following->first.second + 1 > complete_from_);
    it = is_base ? following : snapshots_.erase(it);
    --extra;
  }
}

std::vector<GapRecorded> MemoryJournal::compact() {
  if (bytes_ <= options_.budget_bytes) return {};
  const auto newest = snapshots_.upper_bound({std::string(kStateSnapshot), ~0ull});
  if (newest == snapshots_.begin()) return {};
  const auto& [name, through] = std::prev(newest)->first;
  std::vector<GapRecorded> gaps;
  if (name != kStateSnapshot) return gaps;
  if (through >= complete_from_) gaps.push_back(remove_through(through, false));
  if (bytes_ > options_.budget_bytes && !events_.empty() && events_.begin()->first <= through) {
    gaps.push_back(remove_through(through, true));
  }
  return gaps;
}

GapRecorded MemoryJournal::remove_through(std::uint64_t through, bool lifecycle_too) {
  GapRecorded gap{GapKind::kCompacted, events_.begin()->first, through, 0, "byte budget", {}};
  gap.reason += lifecycle_too ? "; all events removed" : "; detail removed";
  for (auto it = events_.begin(); it != events_.end() && it->first <= through;) {
    if (it->second.lifecycle && !lifecycle_too) {
      ++it;
      continue;
    }
    bytes_ -= it->second.bytes.size() + kEntryOverheadBytes;
    ++gap.count;
    it = events_.erase(it);
  }
  complete_from_ = std::max(complete_from_, through + 1);
  ++stats_.compactions;
  return gap;
}

void MemoryJournal::set_failure(std::optional<Error> failure) {
  const std::lock_guard lock(mutex_);
  failure_ = std::move(failure);
}

Sequence MemoryJournal::first_sequence() const {
  const std::lock_guard lock(mutex_);
  return {events_.empty() ? 0 : events_.begin()->first};
}

Sequence MemoryJournal::complete_from() const {
  const std::lock_guard lock(mutex_);
  return {complete_from_};
}

Sequence MemoryJournal::durable_sequence() const {
  const std::lock_guard lock(mutex_);
  return {last_};
}

Sequence MemoryJournal::next_sequence() const {
  const std::lock_guard lock(mutex_);
  return {next_};
}

Status MemoryJournal::read_raw(Sequence from, Sequence to, const RawVisitor& visitor) const {
  std::unique_lock lock(mutex_);
  const std::uint64_t end = std::min(to.value, last_);
  std::uint64_t position = std::max<std::uint64_t>(from.value, 1);
  if (position < complete_from_ && position <= end && visitor.missing) {
    const MissingRange range{
        GapKind::kCompacted, {position}, {std::min(end, complete_from_ - 1)}, "byte budget"};
    lock.unlock();
    if (!visitor.missing(range)) return {};
    lock.lock();
  }
  // The visitor runs without the lock, so that it may append.
  for (auto it = events_.lower_bound(position); it != events_.end() && it->first <= end;
       it = events_.upper_bound(position)) {
    position = it->first;
    const Stored copy = it->second;
    lock.unlock();
    if (!visitor.event({{copy.sequence}, copy.lifecycle, copy.bytes})) return {};
    lock.lock();
  }
  return {};
}

Status MemoryJournal::read(Sequence from, Sequence to, const Visitor& visitor) const {
  Status failure;
  Envelope decoded;  // one for all, so that its texts keep their memory
  const RawVisitor raw{[&](const RawEvent& event) {
                         failure = decode(event.bytes, decoded);
                         return failure.has_value() && visitor.event(decoded);
                       },
                       visitor.missing};
  const Status status = read_raw(from, to, raw);
  return failure.has_error() ? failure : status;
}

Status MemoryJournal::read_stream(const StreamId& stream, Sequence from, const Visitor& visitor) const {
  return read(from, durable_sequence(),
              {[&](const Envelope& event) { return event.stream != stream || visitor.event(event); },
               visitor.missing});
}

Result<Snapshot> MemoryJournal::latest_snapshot(std::string_view name, Sequence at) const {
  const std::lock_guard lock(mutex_);
  auto it = snapshots_.upper_bound({std::string(name), at.value});
  if (it == snapshots_.begin() || (--it)->first.first != name) {
    return error(Errc::kNotFound, "no snapshot at or before sequence " + std::to_string(at.value),
                 std::string(name));
  }
  return Snapshot{{it->first.second}, it->first.first, it->second};
}

std::string MemoryJournal::leaf_salt() const {
  return std::string(32, '\x5a');
}

Status MemoryJournal::flush() {
  commit();
  const std::lock_guard lock(mutex_);
  return std::exchange(first_failure_, Status{});
}

JournalStats MemoryJournal::stats() const {
  const std::lock_guard lock(mutex_);
  JournalStats stats = stats_;
  stats.bytes_used = bytes_;
  stats.bytes_budget = options_.budget_bytes;
  stats.degraded = failure_.has_value();
  return stats;
}

}  // namespace decklog::persistence
