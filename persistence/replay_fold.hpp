// Folds a journal into state: the nearest snapshot, then every event after it.
//
// A missing range or an event type this build does not know ends the fold with a named Error (kCorrupt with
// `where` = "sequence N", kUnsupported), unless the caller asks to go on from the next snapshot behind the
// hole. Runs on the caller's thread; the callbacks see events in sequence order.
#pragma once

#include "persistence/journal.hpp"

namespace decklog::persistence {

struct FoldCallbacks {
  std::function<void()> reset;  // state of an empty log
  std::function<Status(const Snapshot&)>
      load;  // replaces the state; an error falls back to an older snapshot
  std::function<Status(const Envelope&)> apply;
};

enum class OnGap { kStop, kContinueFromNextSnapshot };

struct FoldOptions {
  Sequence through = {~0ull};  // fold up to and including this event
  OnGap on_gap = OnGap::kStop;
  bool use_snapshots = true;  // false: from the first event, which must still be there
};

struct FoldResult {
  Sequence snapshot;                  // started from this one; none = from the beginning
  Sequence through;                   // last event folded
  std::uint64_t events = 0;           // applied
  std::vector<MissingRange> skipped;  // holes passed by a snapshot: state inside them is not known
};

Result<FoldResult> fold(const JournalReader& journal, const FoldOptions& options,
                        const FoldCallbacks& callbacks);

}  // namespace decklog::persistence
