// Parts of what verbs print with --json. Private to services/cli.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "events/event.hpp"

namespace decklog::cli {

boost::json::object event_object(const Envelope& event);
boost::json::array field_array(const std::vector<FieldDifference>& fields);
// On standard output, as one line.
void print(const boost::json::value& value);
boost::json::array text_array(const std::vector<std::string>& texts);

}  // namespace decklog::cli
