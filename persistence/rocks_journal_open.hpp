// Opening a journal directory: what is there, what is missing, what can be kept. Internal to this folder.
#pragma once

#include "persistence/journal_files.hpp"
#include "persistence/rocks_journal_db.hpp"

namespace decklog::persistence {

struct OpenedJournal {
  std::shared_ptr<JournalDb> db;
  JournalIdentity identity;
  HighWaterFile mark;
  JournalReport report;
  std::uint64_t next = 1;  // past every sequence that was ever durable, as far as is known
};

// The caller holds the directory's lock and no other handle to its store.
Result<OpenedJournal> open_journal(const std::filesystem::path& directory, std::uint64_t budget_bytes);

// What salvage found. Ranges are those not explained by a GapRecorded in the log.
struct Salvaged {
  std::uint64_t events = 0;
  std::vector<GapRecorded> gaps;
  std::optional<JournalIdentity> identity;
};
// Copies everything readable of directory/db into `target`/db. `high_water` 0 = not known. Repairs the
// source's own records in place when they are damaged.
Result<Salvaged> salvage(const std::filesystem::path& directory, const std::filesystem::path& target,
                         std::uint64_t high_water, std::uint64_t budget_bytes);

// The same gap as an event that waits in the store for the loop to append it.
void put_pending_gap(rocksdb::WriteBatch& batch, const JournalDb& db, const GapRecorded& gap);
// Adds what the index needs for one event of the batch.
void put_index(rocksdb::WriteBatch& batch, const JournalDb& db, std::uint64_t sequence,
               std::string_view stream);

}  // namespace decklog::persistence
