// Reading a journal from outside: of a live device, or a copy.
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "persistence/rocks_journal.hpp"
#include "persistence/rocks_journal_open.hpp"

namespace decklog::persistence {
namespace fs = std::filesystem;
namespace {

// A live writer may drop a table between our listing and our opening of it, or a log once it is in a table
// that our manifest does not have yet.
constexpr int kOpenAttempts = 20;

std::set<fs::path> logs_of(const fs::path& directory) {
  std::set<fs::path> logs;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(directory / "db", gone)) {
    if (entry.path().extension() == ".log") logs.insert(entry.path());
  }
  return logs;
}

class ScratchDir final {
 public:
  ScratchDir() = default;
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  ~ScratchDir() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Status make() {
    std::error_code failure;
    std::string pattern = (fs::temp_directory_path(failure) / "decklog-read-XXXXXX").string();
    if (failure || mkdtemp(pattern.data()) == nullptr) return errno_error("cannot create", pattern);
    path_ = pattern;
    return {};
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

struct RocksJournalReader::Impl {
  ScratchDir scratch;  // outlives the store in it
  std::shared_ptr<JournalDb> db;
  JournalIdentity identity;
  std::uint64_t durable = 0, high_water = 0;
  bool live = false;
  std::string damage;
  std::vector<GapRecorded> gaps;

  Status open_rebuilt(const fs::path& directory, const Error& why) {
    if (Status made = scratch.make(); made.has_error()) return made;
    std::error_code failure;
    fs::copy(directory / "db", scratch.path() / "db", fs::copy_options::recursive, failure);
    if (failure) return error(Errc::kIo, "cannot copy the journal: " + failure.message(), directory.string());
    const fs::path target = scratch.path() / "rebuilt";
    fs::create_directory(target, failure);
    auto saved = salvage(scratch.path(), target, high_water, kDefaultBudgetBytes);
    if (!saved) return saved.error();
    auto rebuilt = JournalDb::open(target, DbMode::kReadOnly, kDefaultBudgetBytes);
    if (!rebuilt) return rebuilt.error();
    db = std::move(*rebuilt);
    damage = describe(why);
    gaps = std::move(saved->gaps);
    return {};
  }
};

Result<std::unique_ptr<RocksJournalReader>> RocksJournalReader::open(const fs::path& directory) {
  std::error_code failure;
  if (!fs::exists(directory / "db", failure)) {
    return error(Errc::kNotFound, "no journal in this directory", directory.string());
  }
  auto impl = std::make_unique<Impl>();
  Result<std::shared_ptr<JournalDb>> db = error(Errc::kInternal, "not tried");
  for (int attempt = 0; attempt < kOpenAttempts && !db; ++attempt) {
    impl->live = is_locked(directory);
    const auto logs = logs_of(directory);
    if (fs::exists(directory / "db" / "CURRENT", failure)) {
      db = JournalDb::open(directory, DbMode::kReadOnly, kDefaultBudgetBytes);
    } else {
      db = error(Errc::kCorrupt, "the store has no CURRENT file");
    }
    if (!impl->live) break;
    const auto still = logs_of(directory);
    if (db && !std::includes(still.begin(), still.end(), logs.begin(), logs.end()))
      db = error(Errc::kUnavailable, "the writer changed its files each time they were opened");
  }
  const auto mark = HighWaterFile::peek(directory);
  impl->high_water = mark ? mark->sequence : 0;
  if (db) {
    impl->db = std::move(*db);
    impl->gaps = impl->db->pending_gaps();
  } else if (db.error().code == Errc::kUnavailable) {
    return db.error();
  } else if (const Status rebuilt = impl->open_rebuilt(directory, db.error()); rebuilt.has_error()) {
    return rebuilt.error();
  }
  if (const auto record = impl->db->record(keys::kIdentity)) {
    if (const auto identity = JournalIdentity::decode(*record)) impl->identity = *identity;
  }
  if (impl->identity.epoch == 0)
    impl->identity = read_identity(directory).value_or(JournalIdentity{0, std::string(32, '\0')});
  impl->durable = impl->db->last_sequence();
  // The log of a live writer may hold a group whose sync has not come back: the mark says what is durable.
  if (impl->live && mark && mark->epoch == impl->identity.epoch)
    impl->durable = std::min(impl->durable, mark->sequence);
  return std::unique_ptr<RocksJournalReader>(new RocksJournalReader(std::move(impl)));
}

RocksJournalReader::RocksJournalReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksJournalReader::~RocksJournalReader() = default;
const std::string& RocksJournalReader::damage() const {
  return impl_->damage;
}
Sequence RocksJournalReader::high_water() const {
  return {impl_->high_water};
}
bool RocksJournalReader::live() const {
  return impl_->live;
}
std::vector<GapRecorded> RocksJournalReader::gaps_not_in_log() const {
  return impl_->gaps;
}
Sequence RocksJournalReader::first_sequence() const {
  return {impl_->db->first_sequence(impl_->durable)};
}
Sequence RocksJournalReader::complete_from() const {
  return {impl_->db->cuts().highest() + 1};
}
Sequence RocksJournalReader::durable_sequence() const {
  return {impl_->durable};
}
std::uint64_t RocksJournalReader::epoch() const {
  return impl_->identity.epoch;
}
std::string RocksJournalReader::leaf_salt() const {
  return impl_->identity.salt;
}

Status RocksJournalReader::read(Sequence from, Sequence to, const Visitor& visitor) const {
  return read_decoded(visitor, [&](const RawVisitor& raw) { return read_raw(from, to, raw); });
}

Status RocksJournalReader::read_raw(Sequence from, Sequence to, const RawVisitor& visitor) const {
  return impl_->db->read_raw(from.value, to.value, impl_->durable, visitor);
}

Status RocksJournalReader::read_stream(const StreamId& stream, Sequence from, const Visitor& visitor) const {
  return impl_->db->read_stream(stream, from.value, impl_->durable, visitor);
}

Result<Snapshot> RocksJournalReader::latest_snapshot(std::string_view name, Sequence at) const {
  return impl_->db->latest_snapshot(name, at.value);
}

}  // namespace decklog::persistence
