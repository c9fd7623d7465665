// Any bytes as a property bag and as escaped text. What decodes must encode to something that decodes the
// same, and that a receiver who splits before it decodes cannot split wrongly.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/iothub/property_bag.hpp"

namespace {

using namespace decklog::iothub;

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto plain = percent_decode(text)) {
    must(valid_utf8(*plain));
    must(percent_decode(percent_encode(*plain)).value() == *plain);
  }
  const auto properties = decode_bag(text);
  if (!properties) {
    must(!properties.error().message.empty());
    return 0;
  }
  must(properties->size() <= kMaxBagProperties);
  const std::string bag = encode_bag(*properties);
  must(bag.find_first_of("/?#+ ") == std::string::npos && valid_utf8(bag));
  if (bag.size() <= kMaxBagBytes) must(decode_bag(bag).value() == *properties);
  return 0;
}
