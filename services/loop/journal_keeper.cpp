#include "services/loop/journal_keeper.hpp"

#include <sys/stat.h>

#include <filesystem>

#include "persistence/memory_journal.hpp"
#include "persistence/rocks_journal.hpp"

namespace decklog::loop {

Result<OpenedJournal> open_journal(const std::string& directory, std::uint64_t budget_bytes,
                                   persistence::JournalHooks hooks) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  ::chmod(directory.c_str(), 0700);
  persistence::RocksJournalOptions options;
  options.directory = directory;
  options.budget_bytes = budget_bytes;
  options.hooks = hooks;
  auto opened = persistence::RocksJournal::open(std::move(options));
  if (opened) {
    OpenedJournal result;
    result.report = (*opened)->report();
    result.journal = std::move(*opened);
    return result;
  }
  if (opened.error().code == Errc::kConflict) return opened.error();
  // Supervising without a history beats not supervising; everything says so.
  OpenedJournal result;
  result.journal = std::make_unique<persistence::MemoryJournal>();
  result.problem = describe(opened.error());
  result.report.epoch = result.journal->epoch();
  result.report.damaged = true;
  result.report.damage = result.problem;
  return result;
}

}  // namespace decklog::loop
