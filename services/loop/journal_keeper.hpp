// Opens a service's journal so that the device comes up whatever the disk holds: RocksDB, or, when the disk
// takes nothing at all, memory, said loudly. Private to services.
#pragma once

#include <memory>
#include <string>

#include "persistence/journal.hpp"

namespace decklog::loop {

struct OpenedJournal {
  std::unique_ptr<persistence::Journal> journal;
  persistence::JournalReport report;
  std::string problem;  // why it is in memory only; empty = durable
};

// kConflict when another process has it: two agents on one device must not be.
Result<OpenedJournal> open_journal(const std::string& directory, std::uint64_t budget_bytes,
                                   persistence::JournalHooks hooks);

}  // namespace decklog::loop
