#include "persistence/rocks_journal_open.hpp"

#include <rocksdb/write_batch.h>
#include <sys/stat.h>

#include <algorithm>

#include "events/codec.hpp"

namespace decklog::persistence {
namespace fs = std::filesystem;
namespace {

// Checked at every open: what recovery will fold, but no more than this.
constexpr std::uint64_t kCheckedTailEvents = 200'000;

bool has_files(const fs::path& directory) {
  std::error_code failure;
  return fs::directory_iterator(directory, failure) != fs::directory_iterator();
}

// Damage is what rebuilding can cure; a full disk or a forbidden directory is not.
bool is_damage(const Error& failure) {
  if (failure.code == Errc::kCorrupt || failure.code == Errc::kNotFound ||
      failure.code == Errc::kInvalidArgument) {
    return true;
  }
  const auto has = [&](const char* text) { return failure.message.find(text) != std::string::npos; };
  return failure.code == Errc::kIo && !has("Permission denied") && !has("Too many open files") &&
         !has("lock ");
}

std::uint64_t checked_from(const JournalDb& db, std::uint64_t last) {
  const auto positions = db.snapshots(kStateSnapshot);
  const std::uint64_t base = positions.empty() ? 1 : positions.back() + 1;
  return std::max(base, last > kCheckedTailEvents ? last - kCheckedTailEvents : 1);
}

// The part of the log that the device needs now must be readable and decodable.
Status check_tail(const JournalDb& db, std::uint64_t last) {
  Status problem;
  const Visitor visitor{[](const Envelope&) { return true; },
                        [&](const MissingRange& range) {
                          if (range.kind != GapKind::kDamaged) return true;
                          problem = error(Errc::kCorrupt, range.detail,
                                          "sequence " + std::to_string(range.first.value));
                          return false;
                        }};
  const Status status = read_decoded(
      visitor, [&](const RawVisitor& raw) { return db.read_raw(checked_from(db, last), last, last, raw); });
  return problem.has_error() ? problem : status;
}

struct Found {
  std::shared_ptr<JournalDb> db;
  fs::path tail_aside;  // logs of a shortened tail
};

Result<Found> open_existing(const fs::path& directory, const std::optional<HighWater>& mark,
                            std::uint64_t budget) {
  std::error_code failure;
  if (!fs::exists(directory / "db" / "CURRENT", failure))
    return error(Errc::kCorrupt, "the store has no CURRENT file");
  Found found;
  if (!mark || !mark->clean) {
    // Opening for writing drops the rest of a damaged log: look first, and keep a copy when something is
    // missing.
    auto look = JournalDb::open(directory, DbMode::kReadOnly, budget);
    if (!look) return look.error();
    if (mark && (*look)->last_sequence() < mark->sequence) {
      if (auto aside = copy_logs_aside(directory)) found.tail_aside = *aside;
    }
  }
  auto db = JournalDb::open(directory, DbMode::kWrite, budget);
  if (!db && db.error().code == Errc::kNoSpace && release_reserve(directory)) {
    db = JournalDb::open(directory, DbMode::kWrite, budget);
  }
  if (!db) return db.error();
  if (const Status checked = check_tail(**db, (*db)->last_sequence()); checked.has_error())
    return checked.error();
  found.db = std::move(*db);
  return found;
}

// Rebuilds into salvage/ and swaps it in, so that a crash on the way leaves one of the two stores complete.
Result<std::shared_ptr<JournalDb>> rebuild(const fs::path& directory, std::uint64_t high_water,
                                           std::uint64_t budget, const Error& why, JournalReport& report,
                                           std::optional<JournalIdentity>& identity) {
  report.damaged = true;
  report.damage = describe(why);
  const fs::path target = directory / "salvage";
  std::error_code ignored;
  fs::remove_all(target, ignored);
  if (::mkdir(target.c_str(), 0700) != 0) return errno_error("cannot create", target);
  auto saved = salvage(directory, target, high_water, budget);
  if (!saved) return saved.error();
  const auto aside = set_aside(directory, "db");
  if (!aside) return aside.error();
  if (::rename((target / "db").c_str(), (directory / "db").c_str()) != 0) {
    return errno_error("cannot put the rebuilt store in place", directory / "db");
  }
  fs::remove_all(target, ignored);
  auto db = JournalDb::open(directory, DbMode::kWrite, budget);
  if (!db) return db.error();
  rocksdb::WriteBatch batch;
  for (GapRecorded& gap : saved->gaps) {
    gap.kept_aside = aside->string();
    put_pending_gap(batch, **db, gap);
  }
  // Nothing kept: what follows is another journal, and must not be taken for this one.
  if (saved->events == 0) {
    identity.reset();
  } else if (saved->identity) {
    identity = saved->identity;
  }
  rocksdb::WriteOptions sync;
  sync.sync = true;
  if (const auto status = (*db)->db().Write(sync, &batch); !status.ok())
    return from_rocks(status, "cannot write");
  return std::move(*db);
}

Status finish_interrupted_rebuild(const fs::path& directory) {
  std::error_code ignored;
  if (fs::exists(directory / "db", ignored) || !fs::exists(directory / "salvage" / "db", ignored)) return {};
  if (::rename((directory / "salvage" / "db").c_str(), (directory / "db").c_str()) != 0) {
    return errno_error("cannot put the rebuilt store in place", directory / "db");
  }
  return {};
}

Status write_records(JournalDb& db, const JournalIdentity& identity, const std::vector<GapRecorded>& gaps) {
  rocksdb::WriteBatch batch;
  batch.Put(db.records(), rocksdb::Slice(keys::kIdentity.data(), keys::kIdentity.size()), identity.encode());
  for (const GapRecorded& gap : gaps) put_pending_gap(batch, db, gap);
  rocksdb::WriteOptions sync;
  sync.sync = true;
  const auto status = db.db().Write(sync, &batch);
  if (!status.ok()) return from_rocks(status, "cannot write the journal's identity");
  return {};
}

}  // namespace

void put_pending_gap(rocksdb::WriteBatch& batch, const JournalDb& db, const GapRecorded& gap) {
  Envelope event;
  event.stream = StreamId::service();
  event.fact = gap;
  batch.Put(db.records(), keys::gap(gap), encode(event));
}

void put_index(rocksdb::WriteBatch& batch, const JournalDb& db, std::uint64_t sequence,
               std::string_view stream) {
  batch.Put(db.records(), keys::index(sequence / kIndexBucketEvents, stream), "");
}

Result<OpenedJournal> open_journal(const fs::path& directory, std::uint64_t budget_bytes) {
  OpenedJournal opened;
  if (const Status status = finish_interrupted_rebuild(directory); status.has_error()) return status.error();
  auto mark = HighWaterFile::open(directory);
  if (!mark) return mark.error();
  opened.mark = std::move(*mark);
  const auto found = opened.mark.found();
  auto identity = read_identity(directory);
  const bool had_identity = identity.has_value();
  JournalReport& report = opened.report;
  std::vector<GapRecorded> gaps;
  const bool exists = has_files(directory / "db");
  fs::path tail_aside;
  bool begun_anew = false;
  if (exists) {
    auto existing = open_existing(directory, found, budget_bytes);
    if (existing) {
      opened.db = existing->db;
      tail_aside = existing->tail_aside;
    } else {
      if (!is_damage(existing.error())) return existing.error();
      auto rebuilt =
          rebuild(directory, found ? found->sequence : 0, budget_bytes, existing.error(), report, identity);
      if (!rebuilt) return rebuilt.error();
      opened.db = std::move(*rebuilt);
    }
    if (const auto record = opened.db->record(keys::kIdentity)) {
      if (const auto stored = JournalIdentity::decode(*record)) identity = stored;
    }
  } else {
    identity = JournalIdentity::make();
    begun_anew = true;
    auto created = JournalDb::create(directory, identity->encode(), budget_bytes);
    if (!created) return created.error();
    opened.db = std::move(*created);
    report.created = !(found && found->sequence > 0);
    if (!report.created) {
      report.damaged = true;
      report.damage = "the store is gone";
    }
  }
  const std::uint64_t last = opened.db->last_sequence();
  begun_anew = begun_anew || !identity;
  opened.identity = identity ? *identity : JournalIdentity::make();
  std::uint64_t known = last;
  for (const GapRecorded& gap : opened.db->pending_gaps()) known = std::max(known, gap.last);
  // A mark of another epoch speaks of another journal, except when this one takes its place just now.
  if (found && (begun_anew || found->epoch == opened.identity.epoch) && found->sequence > known) {
    gaps.push_back(
        {GapKind::kLost, known + 1, found->sequence, found->sequence - known,
         begun_anew ? "nothing of the journal before could be read" : "the end of the log is missing",
         tail_aside.string()});
    known = found->sequence;
    report.damaged = true;
    if (report.damage.empty()) report.damage = "the log ends before its high-water mark";
  }
  if (!found && had_identity && last > 0 && !report.damaged) {
    report.damaged = true;
    report.damage = "the high-water mark is gone: a missing end of the log would not show";
  }
  if (const Status status = write_records(*opened.db, opened.identity, gaps); status.has_error())
    return status.error();
  if (const Status status = write_identity(directory, opened.identity); status.has_error())
    return status.error();
  opened.next = known + 1;
  Status marked = opened.mark.write({opened.identity.epoch, known, false});
  if (marked) marked = opened.mark.sync();
  if (marked.has_error()) return marked.error();
  report.epoch = opened.identity.epoch;
  report.clean = found && found->clean && !report.damaged;
  report.last = {known};
  report.first = {opened.db->first_sequence(known)};
  report.gaps = opened.db->pending_gaps();
  return opened;
}

}  // namespace decklog::persistence
