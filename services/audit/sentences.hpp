// Events in plain words, one line each. Pure.
#pragma once

#include <string>

#include "events/event.hpp"

namespace decklog::audit {

// "backing-off -> starting: back-off elapsed (ModuleTimerFired); asks start"
std::string sentence(const Envelope& event);

}  // namespace decklog::audit
