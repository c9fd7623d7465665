#include "persistence/replay_fold.hpp"

#include <algorithm>

namespace decklog::persistence {
namespace {

class Fold final {
 public:
  Fold(const JournalReader& journal, const FoldOptions& options, const FoldCallbacks& callbacks)
      : journal_(journal),
        options_(options),
        callbacks_(callbacks),
        end_(std::min(options.through, journal.durable_sequence())) {}

  Result<FoldResult> run() {
    if (const Status started = start(); started.has_error()) return started.error();
    for (;;) {
      hole_ = {};
      if (const Status status = walk(); status.has_error()) return status.error();
      if (!hole_.first) return result_;
      if (options_.on_gap == OnGap::kStop || !pass_hole()) {
        return error(Errc::kCorrupt,
                     "events " + std::to_string(hole_.first.value) + " to " +
                         std::to_string(hole_.last.value) + " are " + name_of(hole_.kind),
                     "sequence " + std::to_string(hole_.first.value));
      }
    }
  }

 private:
  Status start() {
    if (callbacks_.reset) callbacks_.reset();
    if (options_.use_snapshots && load_newest(end_, {})) {
      result_.snapshot = result_.through;
      return {};
    }
    if (journal_.complete_from().value > 1 && end_.value > 0 && options_.on_gap == OnGap::kStop) {
      return error(Errc::kNotFound,
                   "the beginning of the log was compacted and no snapshot before sequence " +
                       std::to_string(end_.value) + " can be read");
    }
    return {};
  }

  // Loads the newest readable snapshot in (after, at].
  bool load_newest(Sequence at, Sequence after) {
    while (callbacks_.load) {
      const auto snapshot = journal_.latest_snapshot(kStateSnapshot, at);
      if (!snapshot || snapshot->through <= after) return false;
      if (callbacks_.load(*snapshot)) {
        result_.through = snapshot->through;
        return true;
      }
      if (callbacks_.reset) callbacks_.reset();
      if (snapshot->through.value == 0) return false;
      at = {snapshot->through.value - 1};
    }
    return false;
  }

  Status walk() {
    Status failure;
    const Visitor visitor{[&](const Envelope& event) {
                            if (std::holds_alternative<UnknownFact>(event.fact) && !event.may_ignore) {
                              failure = error(Errc::kUnsupported, "an event type newer than this build",
                                              "sequence " + std::to_string(event.sequence.value));
                            } else {
                              failure = callbacks_.apply(event);
                            }
                            if (failure.has_error()) return false;
                            result_.through = event.sequence;
                            ++result_.events;
                            return true;
                          },
                          [&](const MissingRange& range) {
                            hole_ = range;
                            return false;
                          }};
    const Status read = journal_.read(result_.through.next(), end_, visitor);
    return failure.has_error() ? failure : read;
  }

  // State behind the hole is known only from a snapshot taken behind it, the oldest there is.
  bool pass_hole() {
    Sequence at = end_;
    std::optional<Sequence> oldest;
    for (;;) {
      const auto snapshot = journal_.latest_snapshot(kStateSnapshot, at);
      if (!snapshot || snapshot->through < hole_.last) break;
      oldest = snapshot->through;
      if (snapshot->through.value == 0) break;
      at = {snapshot->through.value - 1};
    }
    if (!oldest || !load_newest(*oldest, result_.through)) return false;
    result_.skipped.push_back(hole_);
    return true;
  }

  const JournalReader& journal_;
  const FoldOptions& options_;
  const FoldCallbacks& callbacks_;
  const Sequence end_;
  FoldResult result_;
  MissingRange hole_;
};

}  // namespace

Result<FoldResult> fold(const JournalReader& journal, const FoldOptions& options,
                        const FoldCallbacks& callbacks) {
  return Fold(journal, options, callbacks).run();
}

}  // namespace decklog::persistence
