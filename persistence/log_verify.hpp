// Checks a whole journal: nothing missing without a record of it, nothing changed since a head was signed
// over it.
//
// Tells apart: an edit (the tree does not match a signed head), a gap (sequences missing without a record),
// damage (stored bytes fail their check), a cut-off tail (the high-water mark or a witnessed head goes
// further), a bad or unknown signature, an unsigned log. Works on a live journal, on a copy and offline;
// changes nothing.
#pragma once

#include <string>
#include <vector>

#include "persistence/journal.hpp"

namespace decklog::persistence {

struct VerifyOptions {
  std::vector<std::string> public_keys;      // 32 bytes each: published_keys(directory) or better the fleet's
  Sequence high_water;                       // RocksJournalReader::high_water(); none = not known
  std::vector<GapRecorded> gaps_not_in_log;  // RocksJournalReader::gaps_not_in_log()
  std::vector<HeadSigned> witnessed;         // heads the fleet holds
};

enum class FindingKind { kEdited, kGap, kDamaged, kTruncated, kBadSignature, kUnsigned, kUnreadable };
std::string name_of(FindingKind kind);

// The first is the first bad sequence, or the earliest that can be blamed: an edit lies in first..last.
struct Finding {
  FindingKind kind = FindingKind::kEdited;
  Sequence first, last;
  std::string text;  // for people, one line
};

struct VerifyReport {
  std::uint64_t events = 0;
  std::uint64_t heads = 0;  // signed heads that hold
  Sequence first, last;
  Sequence proven_through;               // events up to here are under a signed head; later ones are not yet
  std::vector<Finding> findings;         // by sequence; empty = the log is honest
  std::vector<MissingRange> recorded;    // missing, and the log says so
  std::vector<MissingRange> not_proven;  // present, but the tree over them cannot be recomputed any more
  bool ok() const { return findings.empty(); }
};

VerifyReport verify(const JournalReader& journal, const VerifyOptions& options);

}  // namespace decklog::persistence
