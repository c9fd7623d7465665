// Spending the byte budget: detail first, lifecycle longest, nothing newer than the newest state snapshot.
//
// A cut is a record ("nothing of this class up to here"), written before the files go, so that a crash on the
// way leaves a journal that says what it lost. Whole tables are dropped; keys only grow, so that is nearly
// always enough.
#include <rocksdb/convenience.h>
#include <rocksdb/metadata.h>

#include <algorithm>

#include "events/codec.hpp"
#include "persistence/journal_frame.hpp"
#include "persistence/merkle.hpp"
#include "persistence/rocks_journal_impl.hpp"

namespace decklog::persistence {
namespace {

// Shares of the budget: a snapshot is asked for at three quarters, space is freed at seven eighths down to
// three quarters; detail keeps a quarter before lifecycle goes, and lifecycle keeps a quarter in any case.
std::uint64_t ask_above(std::uint64_t budget) {
  return budget / 4 * 3;
}
std::uint64_t free_above(std::uint64_t budget) {
  return budget / 8 * 7;
}
std::uint64_t detail_share(std::uint64_t budget) {
  return budget / 4;
}
std::uint64_t lifecycle_floor(std::uint64_t budget) {
  return budget / 4;
}

}  // namespace

std::uint64_t RocksJournal::Impl::class_bytes(FrameClass which) const {
  rocksdb::ColumnFamilyMetaData data;
  db_->db().GetColumnFamilyMetaData(db_->frames(which), &data);
  return data.size;
}

// The end of the oldest tables that together free so many bytes, or as many as the limit allows.
std::optional<std::uint64_t> RocksJournal::Impl::find_cut(FrameClass which, std::uint64_t bytes,
                                                          std::uint64_t limit) const {
  rocksdb::ColumnFamilyMetaData data;
  db_->db().GetColumnFamilyMetaData(db_->frames(which), &data);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> files;  // first sequence, size
  for (const auto& level : data.levels) {
    for (const auto& file : level.files) files.emplace_back(from_big_endian(file.smallestkey), file.size);
  }
  std::sort(files.begin(), files.end());
  std::optional<std::uint64_t> through;
  std::uint64_t freed = 0;
  for (std::size_t i = 0; i + 1 < files.size() && freed < bytes; ++i) {
    const std::uint64_t end = files[i + 1].first - 1;
    if (end > limit) break;
    freed += files[i].second;
    if (end > db_->cuts().of(which)) through = end;
  }
  return through;
}

// Digest over the leaves of what stays of a thinned range: the GapRecorded that carries it is under the next
// signed head, and so is what it speaks of.
std::string RocksJournal::Impl::seal(std::uint64_t first, std::uint64_t last, std::uint64_t& kept) const {
  LeafHasher leaves(identity_.salt);
  std::string all;
  (void)db_->read_raw(first, last, last,
                      {[&](const RawEvent& raw) {
                         ++kept;
                         if (const auto event = decode(raw.bytes)) {
                           const Hash leaf = leaves.leaf(*event, raw.bytes);
                           all.append(reinterpret_cast<const char*>(leaf.data()), leaf.size());
                         }
                         return true;
                       },
                       [](const MissingRange&) { return true; }});
  return to_hex(leaves.digest()({all}));
}

Status RocksJournal::Impl::cut(FrameClass which, std::uint64_t through) {
  const Cuts before = db_->cuts();
  Cuts after = before;
  (which == FrameClass::kDetail ? after.detail : after.lifecycle) = through;
  GapRecorded gap{GapKind::kCompacted, before.of(which) + 1, through, 0, "byte budget", {}};
  std::uint64_t kept = 0;
  if (which == FrameClass::kDetail) {
    db_->set_cuts(after);
    gap.reason += "; detail removed; seal " + seal(gap.first, gap.last, kept);
    gap.count = gap.last - gap.first + 1 - kept;
  } else {
    (void)seal(gap.first, gap.last, gap.count);
    db_->set_cuts(after);
    gap.reason += "; all events removed";
  }
  rocksdb::WriteBatch batch;
  batch.Put(db_->records(), rocksdb::Slice(keys::kCuts.data(), keys::kCuts.size()),
            JournalDb::encode_cuts(after));
  batch.DeleteRange(db_->records(), keys::index(0, ""),
                    keys::index(after.lifecycle / kIndexBucketEvents, ""));
  put_pending_gap(batch, *db_, gap);
  rocksdb::WriteOptions options;
  options.sync = options_.sync == SyncPolicy::kEachGroup;
  if (const auto status = db_->db().Write(options, &batch); !status.ok()) {
    db_->set_cuts(before);
    return from_rocks(status, "cannot compact");
  }
  auto* const family = db_->frames(which);
  // The group that holds the first event to keep may begin before it.
  std::string end = big_endian(through + 1);
  {
    const std::unique_ptr<rocksdb::Iterator> it(db_->db().NewIterator({}, family));
    it->SeekForPrev(end);
    if (it->Valid()) end = it->key().ToString();
  }
  const rocksdb::Slice last(end);
  rocksdb::CompactRangeOptions compact;
  compact.exclusive_manual_compaction = false;
  // Tables of the first level are not dropped by range: moved down before, they are.
  auto status = db_->db().CompactRange(compact, family, nullptr, &last);
  if (status.ok()) status = rocksdb::DeleteFilesInRange(&db_->db(), family, nullptr, &last, false);
  if (which == FrameClass::kLifecycle) first_ = db_->first_sequence(durable_);
  {
    const std::lock_guard lock(mutex_);
    ++stats_.compactions;
  }
  if (options_.hooks.gap) options_.hooks.gap(gap);
  if (!status.ok()) return from_rocks(status, "cannot drop compacted tables");
  return {};
}

void RocksJournal::Impl::spend_budget() {
  const std::uint64_t budget = options_.budget_bytes;
  const auto measure = [&] { return bytes_used_ = bytes_on_disk(options_.directory / "db"); };
  unaccounted_bytes_ = 0;
  measure();
  if (bytes_used_ > free_above(budget)) {
    const std::uint64_t target = ask_above(budget);
    const auto spend = [&](FrameClass which, std::uint64_t keep, std::uint64_t limit) {
      const std::uint64_t have = class_bytes(which);
      if (bytes_used_ <= target || have <= keep) return;
      const auto through = find_cut(which, std::min(bytes_used_ - target, have - keep), limit);
      if (through && cut(which, *through).has_value()) measure();
    };
    spend(FrameClass::kDetail, detail_share(budget), newest_state_);
    spend(FrameClass::kLifecycle, lifecycle_floor(budget), db_->cuts().detail);
    spend(FrameClass::kDetail, 0, newest_state_);
  }
  over_budget_ = bytes_used_ > budget;
  // Half of what could be compacted is newer than the newest snapshot: another one would help.
  const std::uint64_t cut_so_far = db_->cuts().detail;
  const bool stale = newest_state_ <= cut_so_far || newest_state_ - cut_so_far < (durable_ - cut_so_far) / 2;
  const bool ask = bytes_used_ > ask_above(budget) && stale && !snapshot_asked_;
  {
    const std::lock_guard lock(mutex_);
    stats_.bytes_used = bytes_used_;
  }
  if (ask && options_.hooks.snapshot_wanted) {
    snapshot_asked_ = true;
    options_.hooks.snapshot_wanted();
  }
}

}  // namespace decklog::persistence
