#include "persistence/rocks_journal_db.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <sys/stat.h>

#include "events/codec.hpp"
#include "persistence/crc32c.hpp"
#include "persistence/journal_frame.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kBlockCacheBytes = 512 << 10;
constexpr std::size_t kFrameBlockBytes = 64 << 10;
constexpr std::size_t kRecordBlockBytes = 4 << 10;
constexpr int kMaxOpenFiles = 64;
constexpr std::uint64_t kManifestBytes = 256 << 10;

// RocksDB insists on some logger. A file would be one more thing to bound, and after one failed write to it
// (disk full) the next line aborts the process: Debian builds RocksDB with assertions. What matters reaches
// us as a Status.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

std::size_t write_buffer_bytes(std::uint64_t budget) {
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(budget / 64, 64 << 10, 1 << 20));
}

rocksdb::DBOptions db_options(DbMode mode, std::uint64_t budget) {
  rocksdb::DBOptions options;
  options.create_if_missing = mode == DbMode::kCreate;
  options.create_missing_column_families = mode == DbMode::kCreate;
  // Stops at the first bad record; the high-water mark then tells how much is missing.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.recycle_log_file_num = 2;
  options.max_total_wal_size = 4 * write_buffer_bytes(budget);
  options.max_open_files = kMaxOpenFiles;
  options.max_background_jobs = 2;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_manifest_file_size = kManifestBytes;
  options.manifest_preallocation_size = 16 << 10;
  options.table_cache_numshardbits = 2;
  options.max_bgerror_resume_count = 0;  // recovery is the journal's decision
  options.skip_stats_update_on_db_open = true;
  options.delete_obsolete_files_period_micros = 60ull * 1000 * 1000;
  options.info_log = std::make_shared<NoLog>();
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> families(std::uint64_t budget) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes, 0);
  table.format_version = 5;
  table.block_size = kFrameBlockBytes;
  rocksdb::ColumnFamilyOptions frames;
  frames.write_buffer_size = write_buffer_bytes(budget);
  frames.max_write_buffer_number = 3;
  frames.compression = rocksdb::kZSTD;
  frames.compression_opts.level = 3;
  frames.level0_file_num_compaction_trigger = 2;
  frames.target_file_size_base = 4 * frames.write_buffer_size;
  frames.max_bytes_for_level_base =
      4 * budget;  // one level below the first: keys only grow, files just move down
  frames.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  frames.ttl = 0;
  frames.periodic_compaction_seconds = 0;
  rocksdb::ColumnFamilyOptions records = frames;
  table.block_size = kRecordBlockBytes;
  records.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  records.level0_file_num_compaction_trigger = 4;
  return {{rocksdb::kDefaultColumnFamilyName, records}, {"lifecycle", frames}, {"detail", frames}};
}

}  // namespace

Error from_rocks(const rocksdb::Status& status, std::string_view what) {
  const Errc code = status.IsNoSpace() || status.subcode() == rocksdb::Status::kNoSpace ? Errc::kNoSpace
                    : status.IsCorruption()                                             ? Errc::kCorrupt
                    : status.IsNotFound()                                               ? Errc::kNotFound
                                                                                        : Errc::kIo;
  return error(code, std::string(what) + ": " + status.ToString());
}

namespace keys {

std::string snapshot(std::string_view name, std::uint64_t through) {
  std::string key = "s";
  key += name;
  key.push_back('\0');
  return key + big_endian(through);
}

std::string index(std::uint64_t bucket, std::string_view stream) {
  std::string key = "i" + big_endian(bucket);
  key += stream;
  return key;
}

std::string gap(const GapRecorded& gap) {
  std::string key = "g";
  key.push_back(static_cast<char>(gap.gap));
  return key + big_endian(gap.first) + big_endian(gap.last);
}

}  // namespace keys

Result<std::shared_ptr<JournalDb>> JournalDb::open(const std::filesystem::path& directory, DbMode mode,
                                                   std::uint64_t budget_bytes) {
  std::shared_ptr<JournalDb> journal(new JournalDb());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const std::string path = (directory / "db").string();
  const auto options = db_options(mode, budget_bytes);
  const rocksdb::Status status =
      mode == DbMode::kReadOnly
          ? rocksdb::DB::OpenForReadOnly(options, path, families(budget_bytes), &handles, &db)
          : rocksdb::DB::Open(options, path, families(budget_bytes), &handles, &db);
  if (!status.ok()) return from_rocks(status, "cannot open the store");
  journal->db_.reset(db);
  std::copy(handles.begin(), handles.end(), journal->handles_.begin());
  if (mode == DbMode::kCreate) {
    if (const Status marked = journal->mark_families(); marked.has_error()) return marked.error();
  }
  if (const auto cuts = journal->record(keys::kCuts); cuts && cuts->size() == 16) {
    journal->set_cuts({get_little_endian(std::string_view(*cuts).substr(0, 8)),
                       get_little_endian(std::string_view(*cuts).substr(8, 8))});
  }
  return journal;
}

Result<std::shared_ptr<JournalDb>> JournalDb::create(const std::filesystem::path& directory,
                                                     std::string_view identity, std::uint64_t budget_bytes) {
  const std::filesystem::path making = directory / "making";
  std::error_code failure;
  std::filesystem::remove_all(making, failure);
  if (::mkdir(making.c_str(), 0700) != 0) return errno_error("cannot create", making);
  {
    auto made = open(making, DbMode::kCreate, budget_bytes);
    if (!made) return made.error();
    const auto put = (*made)->db().Put({}, (*made)->records(),
                                       rocksdb::Slice(keys::kIdentity.data(), keys::kIdentity.size()),
                                       rocksdb::Slice(identity.data(), identity.size()));
    if (!put.ok()) return from_rocks(put, "cannot create the store");
    if (const Status flushed = (*made)->flush_all(); flushed.has_error()) return flushed.error();
  }
  if (::rename((making / "db").c_str(), (directory / "db").c_str()) != 0) {
    return errno_error("cannot put the new store in place", directory / "db");
  }
  std::filesystem::remove_all(making, failure);
  if (const Status synced = sync_directory(directory); synced.has_error()) return synced.error();
  return open(directory, DbMode::kWrite, budget_bytes);
}

// Repair learns of a family from its tables only, and drops what the log holds for one it does not know.
Status JournalDb::mark_families() {
  for (auto* handle : handles_) {
    auto status = db_->Put({}, handle, "", "");
    if (status.ok()) status = db_->Flush({}, handle);
    if (!status.ok()) return from_rocks(status, "cannot create the store");
  }
  return {};
}

Status JournalDb::repair(const std::filesystem::path& directory, std::uint64_t budget_bytes) {
  auto options = db_options(DbMode::kReadOnly, budget_bytes);
  options.create_if_missing = options.create_missing_column_families = true;
  const auto status = rocksdb::RepairDB((directory / "db").string(), options, families(budget_bytes));
  if (!status.ok()) return from_rocks(status, "cannot repair the store");
  return {};
}

JournalDb::~JournalDb() {
  if (!db_) return;
  for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  db_->Close();
}

void JournalDb::set_cuts(const Cuts& cuts) {
  detail_cut_ = cuts.detail;
  lifecycle_cut_ = cuts.lifecycle;
}

std::string JournalDb::encode_cuts(const Cuts& cuts) {
  std::string record;
  put_little_endian(record, cuts.detail, 8);
  put_little_endian(record, cuts.lifecycle, 8);
  return record;
}

Result<std::string> JournalDb::record(std::string_view key) const {
  std::string value;
  const auto status = db_->Get({}, records(), rocksdb::Slice(key.data(), key.size()), &value);
  if (!status.ok()) return from_rocks(status, "cannot read a record");
  return value;
}

std::vector<std::uint64_t> JournalDb::snapshots(std::string_view name) const {
  std::vector<std::uint64_t> positions;
  const std::string prefix = keys::snapshot(name, 0).substr(0, name.size() + 2);
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, records()));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    const std::string_view key = it->key().ToStringView();
    if (key.size() == prefix.size() + 8) positions.push_back(from_big_endian(key.substr(prefix.size())));
  }
  return positions;
}

Result<Snapshot> JournalDb::latest_snapshot(std::string_view name, std::uint64_t at) const {
  const auto positions = snapshots(name);
  // A damaged snapshot is passed over: an older one and more events tell the same.
  for (auto it = std::upper_bound(positions.begin(), positions.end(), at); it != positions.begin();) {
    const std::uint64_t through = *--it;
    const auto value = record(keys::snapshot(name, through));
    if (!value || value->size() < 4) continue;
    const std::string_view bytes = std::string_view(*value).substr(4);
    if (crc32c(bytes) != get_little_endian(std::string_view(*value).substr(0, 4))) continue;
    return Snapshot{{through}, std::string(name), std::string(bytes)};
  }
  return error(Errc::kNotFound, "no snapshot at or before sequence " + std::to_string(at), std::string(name));
}

std::vector<GapRecorded> JournalDb::pending_gaps() const {
  std::vector<GapRecorded> gaps;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, records()));
  for (it->Seek("g"); it->Valid() && it->key().starts_with("g"); it->Next()) {
    const auto event = decode(it->value().ToStringView());
    if (!event) continue;
    if (const auto* gap = std::get_if<GapRecorded>(&event->fact)) gaps.push_back(*gap);
  }
  return gaps;
}

std::uint64_t JournalDb::last_sequence() const {
  std::uint64_t last = 0;
  for (const FrameClass which : {FrameClass::kLifecycle, FrameClass::kDetail}) {
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, frames(which)));
    it->SeekToLast();
    if (!it->Valid() || it->key().size() != 8) continue;
    last = std::max(last, from_big_endian(it->key().ToStringView()));
    FrameCursor cursor(it->value().ToStringView());
    for (Frame frame; cursor.next(frame);) last = std::max(last, frame.sequence);
  }
  return last;
}

std::uint64_t JournalDb::first_sequence(std::uint64_t durable) const {
  std::uint64_t first = 0;
  (void)read_raw(1, durable, durable,
                 {[&](const RawEvent& event) {
                    first = event.sequence.value;
                    return false;
                  },
                  [](const MissingRange&) { return true; }});
  return first;
}

Status JournalDb::flush_all() {
  const auto status = db_->Flush({}, {handles_[0], handles_[1], handles_[2]});
  if (!status.ok()) return from_rocks(status, "cannot flush the store");
  return {};
}

}  // namespace decklog::persistence
