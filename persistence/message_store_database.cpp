#include "persistence/message_store_database.hpp"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "persistence/message_store_bytes.hpp"
#include "persistence/message_store_rocks.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kMemtableBytes = 4 * 1024 * 1024;
constexpr std::size_t kBlockCacheBytes = 512 * 1024;
constexpr std::uint64_t kWalBytes = 16 * 1024 * 1024;
constexpr std::size_t kInfoLogBytes = 128 * 1024;
constexpr int kOpenFiles = 64;
constexpr int kAsideKept = 2;  // damaged states kept for people; a third replaces the oldest

// Every file of the store is for its owner only, whatever the umask of the process.
class PrivateFiles final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "PrivateFiles"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    return close_to_others(path, target()->NewWritableFile(path, options, file, debug));
  }
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    return close_to_others(path, target()->ReuseWritableFile(path, old, options, file, debug));
  }
  rocksdb::IOStatus NewLogger(const std::string& path, const rocksdb::IOOptions& options,
                              std::shared_ptr<rocksdb::Logger>* logger,
                              rocksdb::IODebugContext* debug) override {
    return close_to_others(path, target()->NewLogger(path, options, logger, debug));
  }
  rocksdb::IOStatus LockFile(const std::string& path, const rocksdb::IOOptions& options,
                             rocksdb::FileLock** lock, rocksdb::IODebugContext* debug) override {
    return close_to_others(path, target()->LockFile(path, options, lock, debug));
  }

 private:
  static rocksdb::IOStatus close_to_others(const std::string& path, rocksdb::IOStatus status) {
    if (status.ok()) ::chmod(path.c_str(), S_IRUSR | S_IWUSR);
    return status;
  }
};

rocksdb::ColumnFamilyOptions family_options(bool chunks, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = kMemtableBytes;
  options.max_write_buffer_number = 2;
  options.level0_file_num_compaction_trigger = 4;
  options.target_file_size_base = 4 * 1024 * 1024;
  options.max_bytes_for_level_base = 32 * 1024 * 1024;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = chunks ? 16 * 1024 : 4 * 1024;
  table.cache_index_and_filter_blocks = false;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  // Acknowledged messages become tombstones; a file that is mostly tombstones is compacted at once.
  options.table_properties_collector_factories.push_back(
      rocksdb::NewCompactOnDeletionCollectorFactory(64, 24, 0.3));
  return options;
}

rocksdb::DBOptions database_options(rocksdb::Env* environment) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.paranoid_checks = true;
  options.env = environment;
  options.max_open_files = kOpenFiles;
  options.max_background_jobs = 2;
  options.max_total_wal_size = kWalBytes;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.recycle_log_file_num = 2;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.max_log_file_size = kInfoLogBytes;
  options.keep_log_file_num = 2;
  options.max_manifest_file_size = 1024 * 1024;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_bgerror_resume_count = 0;  // resume() decides when to try again
  options.avoid_unnecessary_blocking_io = true;
  options.skip_stats_update_on_db_open = true;
  options.skip_checking_sst_file_sizes_on_db_open = true;
  return options;
}

}  // namespace

Error store_error(const rocksdb::Status& status) {
  Errc code = Errc::kIo;
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kNoSpace) code = Errc::kNoSpace;
  // A table that the manifest names and the directory does not have is damage too.
  if (status.IsCorruption() || status.IsPathNotFound()) code = Errc::kCorrupt;
  if (status.IsNotFound()) code = Errc::kNotFound;
  return error(code, status.ToString(), "message store");
}

Status Database::open_files(const std::string& directory) {
  if (!environment_) {
    environment_ = rocksdb::NewCompositeEnv(std::make_shared<PrivateFiles>(rocksdb::FileSystem::Default()));
  }
  const auto cache = rocksdb::NewLRUCache(kBlockCacheBytes, 0);
  const std::vector<rocksdb::ColumnFamilyDescriptor> wanted = {
      {rocksdb::kDefaultColumnFamilyName, family_options(false, cache)},
      {"chunks", family_options(true, cache)}};
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(database_options(environment_.get()), directory, wanted, &families_, &db);
  if (!opened.ok()) return store_error(opened);
  db_.reset(db);
  meta_ = families_[0];
  chunks_ = families_[1];
  return mark();
}

// A repair knows a column family only from its tables: one that lives in the log alone would be passed over.
// So there is always one table, with a key that no message has.
Status Database::mark() {
  const std::string key(kMarkerKey);
  std::string value;
  if (db_->Get(rocksdb::ReadOptions{}, chunks_, key, &value).ok()) return {};
  rocksdb::Status status = db_->Put(rocksdb::WriteOptions{}, chunks_, key, "decklog");
  if (status.ok()) status = db_->Flush(rocksdb::FlushOptions{}, chunks_);
  if (!status.ok()) return store_error(status);
  return {};
}

// Keeps a copy of everything (hard links: no space needed), then lets RocksDB make what is readable usable
// again.
Status Database::repair(const std::string& directory, OpenReport& report) {
  namespace fs = std::filesystem;
  std::error_code failure;
  std::string aside;
  for (int i = 1; i <= kAsideKept; ++i) {
    aside = directory + ".damaged-" + std::to_string(i);
    if (!fs::exists(aside, failure)) break;
    if (i == kAsideKept) fs::remove_all(aside, failure);
  }
  fs::create_directory(aside, failure);
  fs::permissions(aside, fs::perms::owner_all, failure);
  for (const auto& file : fs::directory_iterator(directory, failure)) {
    const fs::path copy = fs::path(aside) / file.path().filename();
    // Tables never change once written; logs and manifests may, so those are copied.
    if (file.path().extension() == ".sst") {
      fs::create_hard_link(file.path(), copy, failure);
    } else if (file.is_regular_file(failure)) {
      fs::copy_file(file.path(), copy, failure);
    }
  }
  report.damaged = true;
  report.kept_aside = aside;
  const auto cache = rocksdb::NewLRUCache(kBlockCacheBytes, 0);
  const std::vector<rocksdb::ColumnFamilyDescriptor> wanted = {
      {rocksdb::kDefaultColumnFamilyName, family_options(false, cache)},
      {"chunks", family_options(true, cache)}};
  if (rocksdb::RepairDB(directory, database_options(environment_.get()), wanted).ok() &&
      open_files(directory)) {
    return {};
  }
  // Nothing can be made of it: begin anew, the old files stay beside.
  fs::remove_all(directory, failure);
  fs::create_directory(directory, failure);
  fs::permissions(directory, fs::perms::owner_all, failure);
  return open_files(directory);
}

Result<std::unique_ptr<Database>> Database::open(const MessageStoreOptions& options, OpenReport& report) {
  namespace fs = std::filesystem;
  std::error_code failure;
  fs::create_directories(options.directory, failure);
  if (failure) return error(Errc::kIo, "cannot make the directory: " + failure.message(), options.directory);
  fs::permissions(options.directory, fs::perms::owner_all, failure);
  auto database = std::unique_ptr<Database>(new Database);
  database->directory_ = options.directory;
  Status opened = database->open_files(options.directory);
  if (!opened && opened.error().code == Errc::kCorrupt) {
    report.problem = describe(opened.error());
    opened = database->repair(options.directory, report);
  }
  if (!opened) return opened.error();
  const std::string high_water = options.directory + "/HIGHWATER";
  database->high_water_file_ = ::open(high_water.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (database->high_water_file_ < 0) return error(Errc::kIo, std::strerror(errno), high_water);
  const Status purges = database->scan("p", [&](std::string_view key, std::string_view value) {
    ByteReader in(key.substr(1)), floor(value);
    const auto queue = static_cast<std::uint32_t>(in.key(4));
    database->purges_.emplace_back(queue, floor.fixed64());
  });
  if (!purges) return purges.error();
  return database;
}

Database::~Database() {
  stop_compaction_ = true;
  if (compaction_.joinable()) compaction_.join();
  if (db_) {
    for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
    db_->Close();
  }
  if (high_water_file_ >= 0) ::close(high_water_file_);
}

Status Database::resume() {
  const rocksdb::Status resumed = db_->Resume();
  if (!resumed.ok()) return store_error(resumed);
  return {};
}

std::uint64_t Database::free_bytes() const {
  struct statvfs disk {};
  if (::statvfs(directory_.c_str(), &disk) != 0) return 0;
  return static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
}

Status Database::scan(std::string_view prefix,
                      const std::function<void(std::string_view, std::string_view)>& found,
                      Direction direction, std::size_t max) const {
  const bool backwards = direction == Direction::kBackwards;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(rocksdb::ReadOptions{}, meta_));
  const rocksdb::Slice wanted(prefix.data(), prefix.size());
  if (backwards) {
    at->SeekForPrev(std::string(prefix) + std::string(16, '\xff'));
  } else {
    at->Seek(wanted);
  }
  for (; max > 0 && at->Valid() && at->key().starts_with(wanted); --max) {
    found({at->key().data(), at->key().size()}, {at->value().data(), at->value().size()});
    if (backwards) {
      at->Prev();
    } else {
      at->Next();
    }
  }
  if (!at->status().ok()) return store_error(at->status());
  return {};
}

Result<std::optional<std::string>> Database::get(std::string_view key) const {
  std::string value;
  const rocksdb::Status got =
      db_->Get(rocksdb::ReadOptions{}, meta_, rocksdb::Slice(key.data(), key.size()), &value);
  if (got.IsNotFound()) return std::optional<std::string>{};
  if (!got.ok()) return store_error(got);
  return std::optional<std::string>{std::move(value)};
}

}  // namespace decklog::persistence
