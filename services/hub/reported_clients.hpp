// `clients` of $edgeHub's reported document: devices and modules, bounded. Pure; private to services/hub.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <string>

#include "services/hub/core.hpp"

namespace decklog::hub {

boost::json::object reported_clients(const std::map<std::string, ClientRecord>& records);

}  // namespace decklog::hub
