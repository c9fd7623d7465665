#include "persistence/step_check.hpp"

#include <algorithm>

namespace decklog::persistence {
namespace {

constexpr std::size_t kMaxStreamBytes = 512;
constexpr std::size_t kMaxSnapshotNameBytes = 64;

}  // namespace

Status check_step(std::span<const Envelope> step, Sequence next) {
  if (step.empty()) return error(Errc::kInvalidArgument, "a step holds at least one event");
  if (step.size() > kMaxStepEvents) return error(Errc::kTooLarge, "too many events in one step");
  Sequence expected = next;
  for (const Envelope& event : step) {
    if (event.sequence != expected) {
      return error(Errc::kConflict,
                   "expected sequence " + std::to_string(expected.value) + ", got " +
                       std::to_string(event.sequence.value),
                   "sequence " + std::to_string(event.sequence.value));
    }
    if (event.stream.value.empty() || event.stream.value.size() > kMaxStreamBytes) {
      return error(Errc::kInvalidArgument, "an event needs a stream of 1 to 512 bytes",
                   "sequence " + std::to_string(event.sequence.value));
    }
    expected = expected.next();
  }
  return {};
}

Status check_snapshot(const Snapshot& snapshot, Sequence last) {
  if (snapshot.name.empty() || snapshot.name.size() > kMaxSnapshotNameBytes ||
      snapshot.name.find('\0') != std::string::npos) {
    return error(Errc::kInvalidArgument, "a snapshot needs a name of 1 to 64 characters");
  }
  if (snapshot.bytes.size() > kMaxSnapshotBytes) {
    return error(Errc::kTooLarge, "snapshot larger than 16 MiB", snapshot.name);
  }
  if (snapshot.through > last) {
    return error(Errc::kInvalidArgument, "a snapshot covers stored events only", snapshot.name);
  }
  return {};
}

bool is_control_step(std::span<const Envelope> step) {
  return std::all_of(step.begin(), step.end(), [](const Envelope& event) {
    return std::holds_alternative<GapRecorded>(event.fact) ||
           std::holds_alternative<StoreObserved>(event.fact) ||
           std::holds_alternative<HeadSigned>(event.fact) ||
           std::holds_alternative<SnapshotTaken>(event.fact) ||
           std::holds_alternative<ServiceStopped>(event.fact);
  });
}

}  // namespace decklog::persistence
