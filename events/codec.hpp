// Events as bytes: FlatBuffers (event.fbs), verified on the way in. Pure; safe from any thread.
//
// encode() cannot fail. decode() never throws and never trusts: every offset is checked, by the rules of
// FlatBuffers' verifier, before it is followed, the payload is checked to be present, and texts are bounded
// in all. An event type newer than this build decodes to UnknownFact (the caller stops, unless the event says
// may_ignore).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "events/event.hpp"
#include "events/result.hpp"

namespace decklog {

// Largest encoded event accepted: the desired document (1 MiB at most) plus its envelope.
inline constexpr std::size_t kMaxEventBytes = 2 * 1024 * 1024;

std::string encode(const Envelope& event);
Result<Envelope> decode(std::span<const std::uint8_t> bytes);
// The same into an event that is used again and again: reading a long log then hardly allocates. After an
// error `into` holds a mixture.
Status decode(std::span<const std::uint8_t> bytes, Envelope& into);
inline Result<Envelope> decode(std::string_view bytes) {
  return decode(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
}
inline Status decode(std::string_view bytes, Envelope& into) {
  return decode(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), into);
}

}  // namespace decklog
