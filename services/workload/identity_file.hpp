// Private to this folder: the sealed form of the identities.
#pragma once

#include "services/workload/identities.hpp"

namespace decklog::workload {

Result<IdentityMap> read_identities(const std::string& file,
                                    const DeviceKeys& keys);  // kNotFound when there is none
Status write_identities(const std::string& file, const DeviceKeys& keys, const IdentityMap& identities);

}  // namespace decklog::workload
