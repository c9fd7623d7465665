// Where a log is read from: the journal of a live device, a copied directory, or an exported bundle. Read
// only; works on any machine. Failure: kNotFound, kCorrupt (`where` = first bad sequence or the file).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "persistence/journal.hpp"

namespace decklog::audit {

Result<std::shared_ptr<persistence::JournalReader>> open_log(const std::string& path);

struct Filter {
  Sequence from, to;       // none = open
  std::string stream;      // exact; empty = all
  std::string type;        // event type or its beginning
  std::string kind;        // "input", "decision", "note"; empty = all
  WallTime since, until;   // {0} = open
  std::uint64_t last = 0;  // only the last N that match
};

struct Entry {
  std::optional<Envelope> event;
  std::string missing;  // a range that is not there, in words
  std::string device;   // as the newest ServiceStarted says
};

Status select(const persistence::JournalReader& journal, const Filter& filter,
              const std::function<void(const Entry&)>& take);

// "4711" or an RFC 3339 time: the newest event at or before it.
Result<Sequence> sequence_at(const persistence::JournalReader& journal, const std::string& text);

struct Verification {
  bool ok = false;
  std::uint64_t events = 0, heads = 0;  // heads: signed ones that hold
  Sequence first, last;
  Sequence first_bad;       // none = nothing is wrong
  Sequence proven_through;  // under a signed head up to here
  // "edited at 17: ...", "gap", "damaged", "truncated", "bad-signature", "unsigned", "unreadable"
  std::vector<std::string> problems;
  std::vector<std::string> notes;  // what could not be checked, and what the log itself says is missing
};
// Of a journal directory (live or copied) or of a bundle; of the latter only gaps and checksums.
Result<Verification> verify_log(const std::string& path);

// One file: header, the state snapshot before `from` when the range does not begin at the beginning, events
// with their checksums. Gives the number of events.
Result<std::uint64_t> write_bundle(const persistence::JournalReader& journal, const std::string& path,
                                   Sequence from, Sequence to);

}  // namespace decklog::audit
