// A message written down as JSON, for the route tool and for tests:
// {"body": <JSON> | "bodyRaw": "<text>", "appProps": {name: text}, "sysProps": {name: text}}.
// Owns the texts its view points into; keep it in place while the view is used.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.hpp"
#include "services/routing/message_view.hpp"

namespace decklog::routing {

class SampleMessage final {
 public:
  // The body is encoded as contentEncoding says when that is utf-16 or utf-32.
  static Result<SampleMessage> read(const boost::json::value& message);

  MessageView view(std::string_view source) const;

 private:
  using Property = std::pair<std::string, std::string>;
  static Status read_properties(const boost::json::object& message, std::string_view member,
                                std::vector<Property>& into);

  std::string body_;
  std::vector<Property> application_;
  std::vector<Property> system_;
  mutable std::vector<PropertyView> application_views_;
  mutable std::vector<PropertyView> system_views_;
};

}  // namespace decklog::routing
