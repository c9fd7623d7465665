// A message's stored head: sender, output, properties; and what routes may look at. Private to services/hub.
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"
#include "services/hub/parts.hpp"
#include "services/routing/message_view.hpp"

namespace decklog::hub {

std::string encode_head(const Ingest& message);
Result<Ingest> decode_head(std::string_view head, std::string_view body);

// "/messages", "/messages/modules/m", "/messages/modules/m/outputs/o", "/twinChangeNotifications".
std::string source_of(const Ingest& message);

// Keeps what a MessageView borrows alive.
class RoutedView {
 public:
  explicit RoutedView(const Ingest& message);
  const routing::MessageView& view() const { return view_; }

 private:
  std::string source_;
  std::vector<routing::PropertyView> application_, system_;
  routing::MessageView view_;
};

}  // namespace decklog::hub
