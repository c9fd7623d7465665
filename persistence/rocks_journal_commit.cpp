// One commit group: admitted, gathered into one write, made durable, accounted; and what happens when that
// fails.
#include <algorithm>
#include <chrono>

#include "persistence/crc32c.hpp"
#include "persistence/journal_frame.hpp"
#include "persistence/rocks_journal_impl.hpp"
#include "persistence/step_check.hpp"

namespace decklog::persistence {
namespace {

// The mark is written after each group and synced once in so many: a lost mark only makes a lost tail harder
// to see.
constexpr std::uint64_t kMarksPerSync = 1024;
// Below this much free space only the log's own notes are taken, so that RocksDB keeps room to flush.
constexpr std::uint64_t kLowSpaceBytes = 1 << 20;
constexpr std::uint64_t kControlSpaceBytes = 256 << 10;

}  // namespace

Status RocksJournal::Impl::commit(Items& group) {
  if (std::none_of(group.begin(), group.end(), [](const Item& item) { return item.status.has_value(); }))
    return {};
  if (const Status admitted = admit(group); admitted.has_error()) return admitted;
  const auto first =
      std::find_if(group.begin(), group.end(), [](const Item& item) { return item.first != 0; });
  if (first != group.end() && first->first != durable_ + 1) {
    return error(Errc::kConflict, "the journal goes on at sequence " + std::to_string(durable_ + 1));
  }
  const auto began = std::chrono::steady_clock::now();
  rocksdb::WriteBatch batch;
  gather(group, batch);
  rocksdb::WriteOptions options;
  options.sync = options_.sync == SyncPolicy::kEachGroup;
  const auto written = db_->db().Write(options, &batch);
  if (!written.ok()) {
    const Error failure = from_rocks(written, "cannot append");
    degrade(failure);
    return failure;
  }
  after_commit(group, (std::chrono::steady_clock::now() - began).count());
  return {};
}

Status RocksJournal::Impl::admit(const Items& group) {
  const bool control = std::all_of(group.begin(), group.end(), [](const Item& item) { return item.control; });
  // A snapshot is what frees space under the budget.
  const bool frees =
      std::any_of(group.begin(), group.end(), [](const Item& item) { return item.snapshot.has_value(); });
  std::size_t bytes = 0;
  for (const Item& item : group) bytes += item.bytes();
  const std::uint64_t free = bytes_free(options_.directory);
  const std::uint64_t needed = 2 * bytes + kLowSpaceBytes + (degraded_ ? kReserveBytes : 0);
  if (free < needed) {
    const Error full = error(Errc::kNoSpace, "the disk is full");
    if (!degraded_) degrade(full);
    if (!control || bytes_free(options_.directory) < 2 * bytes + kControlSpaceBytes) return full;
  }
  if (degraded_) {
    if (const Status healed = heal(); healed.has_error()) return healed;
    if (free >= needed) {
      reserve_made_ = reserve_made_ || make_reserve(options_.directory).has_value();
      degraded_ = false;
      const std::lock_guard lock(mutex_);
      stats_.degraded = false;
    }
  }
  if (over_budget_ && !control && !frees) {
    spend_budget();
    if (over_budget_)
      return error(Errc::kNoSpace, "the byte budget is reached and no snapshot allows to compact");
  }
  return {};
}

void RocksJournal::Impl::gather(const Items& group, rocksdb::WriteBatch& batch) {
  std::string lifecycle;
  std::string detail;
  std::uint64_t first = 0;
  for (const Item& item : group) {
    if (!item.status) continue;
    if (item.snapshot) {
      add_snapshot(*item.snapshot, batch);
      continue;
    }
    if (first == 0) first = item.first;
    lifecycle += item.lifecycle;
    detail += item.detail;
    for (const auto& [bucket, stream] : item.streams) {
      if (bucket != indexed_bucket_) {
        indexed_.clear();
        indexed_bucket_ = bucket;
      }
      if (indexed_.insert(stream).second) put_index(batch, *db_, bucket * kIndexBucketEvents, stream);
    }
    for (const GapRecorded& gap : item.gaps) batch.Delete(db_->records(), keys::gap(gap));
  }
  const std::string key = big_endian(first);
  if (!lifecycle.empty()) batch.Put(db_->frames(FrameClass::kLifecycle), key, lifecycle);
  if (!detail.empty()) batch.Put(db_->frames(FrameClass::kDetail), key, detail);
}

void RocksJournal::Impl::add_snapshot(const Snapshot& snapshot, rocksdb::WriteBatch& batch) {
  std::string value;
  put_little_endian(value, crc32c(snapshot.bytes), 4);
  value += snapshot.bytes;
  batch.Put(db_->records(), keys::snapshot(snapshot.name, snapshot.through.value), value);
  auto positions = db_->snapshots(snapshot.name);
  std::erase(positions, snapshot.through.value);
  const std::uint64_t complete_from = db_->cuts().highest() + 1;
  // History that is complete starts from the newest snapshot before it; with nothing cut it starts from
  // nothing.
  const auto after_base = std::upper_bound(positions.begin(), positions.end(), complete_from - 1);
  const std::uint64_t base =
      complete_from > 1 && after_base != positions.begin() ? *std::prev(after_base) : 0;
  const std::uint64_t kept_from = db_->cuts().lifecycle;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const bool among_newest = positions.size() - i < kSnapshotsKept;
    const bool in_log = snapshot.name == kTreeSnapshot && positions[i] >= kept_from;
    if (among_newest || in_log || (base != 0 && positions[i] == base)) continue;
    batch.Delete(db_->records(), keys::snapshot(snapshot.name, positions[i]));
  }
}

void RocksJournal::Impl::after_commit(const Items& group, std::int64_t took_ns) {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::size_t events = 0;
  std::size_t snapshots = 0;
  for (const Item& item : group) {
    if (!item.status) continue;
    unaccounted_bytes_ += item.bytes();
    if (item.snapshot) {
      ++snapshots;
      if (item.snapshot->name == kStateSnapshot) {
        newest_state_ = std::max(newest_state_, item.snapshot->through.value);
        snapshot_asked_ = false;
      }
    } else {
      events += item.events;
      if (first == 0) first = item.first;
      last = item.first + item.events - 1;
    }
  }
  if (last != 0) {
    if (first_ == 0) first_ = first;
    durable_ = last;
    (void)mark_.write({identity_.epoch, last, false});
    if (++unsynced_marks_ >= kMarksPerSync) {
      unsynced_marks_ = 0;
      (void)mark_.sync();
    }
  }
  if (unaccounted_bytes_ >= options_.budget_bytes / 64) spend_budget();
  const std::lock_guard lock(mutex_);
  stats_.events += events;
  stats_.snapshots += snapshots;
  ++stats_.groups;
  if (options_.sync == SyncPolicy::kEachGroup) ++stats_.syncs;
  stats_.commit_last_ns = took_ns;
  stats_.commit_max_ns = std::max(stats_.commit_max_ns, took_ns);
  stats_.commit_total_ns += took_ns;
}

void RocksJournal::Impl::degrade(const Error& failure) {
  degraded_ = true;
  if (failure.code == Errc::kNoSpace && release_reserve(options_.directory)) reserve_made_ = false;
  const std::lock_guard lock(mutex_);
  stats_.degraded = true;
}

// RocksDB refuses writes after a failed one until it has moved to a new log; what it cannot mend is opened
// again.
Status RocksJournal::Impl::heal() {
  if (!db_) return reopen();
  const auto resumed = db_->db().Resume();
  if (resumed.ok()) return {};
  const Error failure = from_rocks(resumed, "the store does not recover yet");
  return failure.code == Errc::kNoSpace ? failure : reopen();
}

Status RocksJournal::Impl::reopen() {
  {
    const std::lock_guard lock(mutex_);
    // Readers of this process still hold the old handle, and with it the store's lock: next time.
    if (db_.use_count() > 1) return error(Errc::kUnavailable, "the store is still being read");
    db_.reset();
  }
  auto opened = open_journal(options_.directory, options_.budget_bytes);
  if (!opened) return opened.error();
  mark_ = std::move(opened->mark);
  indexed_.clear();
  indexed_bucket_ = 0;
  {
    const std::lock_guard lock(mutex_);
    db_ = std::move(opened->db);
    identity_ = opened->identity;
    durable_ = std::max<std::uint64_t>(durable_, opened->next - 1);
    first_ = opened->report.first.value;
  }
  for (const GapRecorded& gap : opened->report.gaps) {
    if (options_.hooks.gap) options_.hooks.gap(gap);
  }
  return {};
}

}  // namespace decklog::persistence
