// Copying what can be read out of a damaged store.
#include <rocksdb/write_batch.h>

#include <algorithm>

#include "events/codec.hpp"
#include "persistence/crc32c.hpp"
#include "persistence/journal_frame.hpp"
#include "persistence/rocks_journal_open.hpp"

namespace decklog::persistence {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kCopyGroupEvents = 512;
constexpr std::size_t kCopyGroupBytes = 256 << 10;
constexpr std::size_t kMaxGapRecords = 16;  // further ranges widen the last one
constexpr std::uint64_t kUnknownEnd = 1ull << 62;

class Copier final {
 public:
  Copier(const JournalDb& from, JournalDb& to) : from_(from), to_(to) {
    unlogged_.disableWAL = true;  // the target is flushed before it is used
  }

  Status copy(std::uint64_t high_water, Salvaged& saved) {
    const std::uint64_t end = high_water != 0 ? std::max(high_water, from_.last_sequence()) : kUnknownEnd;
    Status failure;
    const Status read =
        from_.read_raw(1, end, end,
                       {[&](const RawEvent& raw) {
                          auto event = decode(raw.bytes);
                          if (event && event->sequence == raw.sequence) {
                            take(raw, *event);
                          } else {
                            missing_.push_back({GapKind::kDamaged, raw.sequence, raw.sequence, ""});
                          }
                          if (events_ >= kCopyGroupEvents || bytes_ >= kCopyGroupBytes) failure = write();
                          return failure.has_value();
                        },
                        [&](const MissingRange& range) {
                          if (range.kind != GapKind::kCompacted) missing_.push_back(range);
                          return true;
                        }});
    if (failure.has_error()) return failure;
    if (read.has_error()) return read;
    if (Status status = write(); status.has_error()) return status;
    if (Status status = copy_records(); status.has_error()) return status;
    saved.events = total_;
    saved.gaps = unexplained(high_water);
    return to_.flush_all();
  }

 private:
  void take(const RawEvent& raw, const Envelope& event) {
    if (events_++ == 0) first_ = raw.sequence.value;
    ++total_;
    bytes_ += raw.bytes.size();
    append_frame(raw.lifecycle ? lifecycle_ : detail_, raw.sequence.value, raw.bytes);
    put_index(batch_, to_, raw.sequence.value, event.stream.value);
    if (const auto* gap = std::get_if<GapRecorded>(&event.fact)) explained_.push_back(*gap);
  }

  Status write() {
    const std::string key = big_endian(first_);
    if (!lifecycle_.empty()) batch_.Put(to_.frames(FrameClass::kLifecycle), key, lifecycle_);
    if (!detail_.empty()) batch_.Put(to_.frames(FrameClass::kDetail), key, detail_);
    const auto status = to_.db().Write(unlogged_, &batch_);
    batch_.Clear();
    lifecycle_.clear();
    detail_.clear();
    events_ = bytes_ = 0;
    if (!status.ok()) return from_rocks(status, "cannot rebuild the store");
    return {};
  }

  Status copy_records() {
    const std::unique_ptr<rocksdb::Iterator> it(from_.db().NewIterator({}, from_.records()));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      const std::string_view key = it->key().ToStringView();
      const std::string_view value = it->value().ToStringView();
      const bool snapshot = key.starts_with("s") && value.size() >= 4 &&
                            crc32c(value.substr(4)) == get_little_endian(value.substr(0, 4));
      if (snapshot || key.starts_with("g") || key == keys::kCuts || key == keys::kIdentity) {
        batch_.Put(to_.records(), it->key(), it->value());
      }
    }
    for (const GapRecorded& gap : from_.pending_gaps()) explained_.push_back(gap);
    return write();
  }

  std::vector<GapRecorded> unexplained(std::uint64_t high_water) const {
    std::vector<GapRecorded> gaps;
    for (const MissingRange& range : missing_) {
      const std::uint64_t first = range.first.value;
      const std::uint64_t last = range.last.value;
      if (high_water == 0 && last == kUnknownEnd) continue;
      const bool known = std::any_of(explained_.begin(), explained_.end(), [&](const GapRecorded& gap) {
        return gap.gap != GapKind::kNotWritten && gap.first <= first && last <= gap.last;
      });
      if (known) continue;
      const bool touches = !gaps.empty() && (gaps.back().last + 1 == first || gaps.size() >= kMaxGapRecords);
      if (!touches) gaps.push_back({GapKind::kDamaged, first, last, 0, "stored bytes fail their check", {}});
      gaps.back().last = last;
      gaps.back().count += last - first + 1;
    }
    return gaps;
  }

  const JournalDb& from_;
  JournalDb& to_;
  rocksdb::WriteOptions unlogged_;
  rocksdb::WriteBatch batch_;
  std::string lifecycle_, detail_;
  std::uint64_t first_ = 0, total_ = 0;
  std::size_t events_ = 0, bytes_ = 0;
  std::vector<MissingRange> missing_;
  std::vector<GapRecorded> explained_;
};

// CURRENT names the manifest; when only it is lost or damaged, the newest manifest is the one.
void restore_current(const fs::path& directory) {
  std::string newest;
  std::error_code failure;
  for (fs::directory_iterator it(directory / "db", failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string name = it->path().filename();
    if (name.starts_with("MANIFEST-") &&
        (name.size() > newest.size() || (name.size() == newest.size() && name > newest))) {
      newest = name;
    }
  }
  if (!newest.empty()) (void)write_file_atomically(directory / "db" / "CURRENT", newest + "\n");
}

}  // namespace

Result<Salvaged> salvage(const fs::path& directory, const fs::path& target, std::uint64_t high_water,
                         std::uint64_t budget_bytes) {
  Salvaged saved;
  auto to = JournalDb::open(target, DbMode::kCreate, budget_bytes);
  if (!to) return to.error();
  std::error_code ignored;
  auto from = JournalDb::open(directory, DbMode::kReadOnly, budget_bytes);
  if (!from && from.error().code != Errc::kNoSpace) {
    restore_current(directory);
    from = JournalDb::open(directory, DbMode::kReadOnly, budget_bytes);
  }
  if (!from && from.error().code != Errc::kNoSpace) {
    // Names lost with the manifest make RocksDB start empty: repair reads every table and log that is left.
    const Status repaired = JournalDb::repair(directory, budget_bytes);
    if (repaired) from = JournalDb::open(directory, DbMode::kReadOnly, budget_bytes);
  }
  if (!from) {
    const std::uint64_t first = high_water != 0 ? 1 : 0;
    saved.gaps.push_back({GapKind::kDamaged, first, high_water, high_water, "the store cannot be read", {}});
    return saved;
  }
  if (const auto record = (*from)->record(keys::kIdentity)) saved.identity = JournalIdentity::decode(*record);
  Copier copier(**from, **to);
  if (const Status copied = copier.copy(high_water, saved); copied.has_error()) return copied.error();
  return saved;
}

}  // namespace decklog::persistence
