// Any bytes as a stored event. What decodes must encode to something that decodes the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "events/codec.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto event = decklog::decode(std::span(data, size));
  if (!event) {
    if (event.error().message.empty()) std::abort();
    return 0;
  }
  if (std::holds_alternative<decklog::UnknownFact>(event->fact))
    return 0;  // of a later version: not ours to write
  const auto again = decklog::decode(decklog::encode(*event));
  if (!again || !(*again == *event)) std::abort();
  return 0;
}
