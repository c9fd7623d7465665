// Where the device's state is known again behind events that are not in the log. Private to services/audit.
// Pure; reads the log ahead.
#pragma once

#include <optional>
#include <string>

#include "persistence/journal.hpp"

namespace decklog::audit {

// Whichever comes first. Neither = not before the end of the log.
struct KnownAgain {
  std::optional<persistence::Snapshot> state;  // the device's, stored at or after the range's last event
  Sequence start;  // a run that began, as the log says, without what is missing: from what the log has
};

// For a range that is missing between two events.
KnownAgain known_after(const persistence::JournalReader& journal, const persistence::MissingRange& range);
// For events that a full store refused before `at`: any run after it began from what the log has.
KnownAgain known_after_refusal(const persistence::JournalReader& journal, Sequence at);

// "events 9..12 lost: detail"
std::string lost_text(const persistence::MissingRange& range);

}  // namespace decklog::audit
