// The rules every journal holds a step or a snapshot to before it is queued.
#pragma once

#include <span>
#include <string>

#include "persistence/journal.hpp"

namespace decklog::persistence {

// kInvalidArgument for an empty step, kConflict for sequences that are not next, next+1, ..., kTooLarge past
// limits.
Status check_step(std::span<const Envelope> step, Sequence next);
Status check_snapshot(const Snapshot& snapshot, Sequence last);
// A step of the log's own notes and of store observations: written from the reserve when the disk is full.
bool is_control_step(std::span<const Envelope> step);
// How many snapshots of one name stay, newest first.
inline constexpr std::size_t kSnapshotsKept = 8;

}  // namespace decklog::persistence
