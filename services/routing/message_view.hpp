// What a condition may look at, borrowed from whoever holds the message.
// Lifetime: everything points into the owner's memory, which must outlive the evaluation.
// System properties use the names of conditions (connectionDeviceId, contentType, ...); names compare without
// regard to case, a name absent is undefined, of a name given twice the first counts.
#pragma once

#include <span>
#include <string_view>

namespace decklog::routing {

struct PropertyView final {
  std::string_view name;
  std::string_view value;
};

struct MessageView final {
  std::string_view source;  // "/messages", "/messages/modules/m/outputs/o", "/twinChangeNotifications"
  std::string_view body;  // bytes as received; read as JSON only when contentType and contentEncoding say so
  std::span<const PropertyView> application;
  std::span<const PropertyView> system;
};

}  // namespace decklog::routing
