#include "services/cli/fleet_access.hpp"

#include "services/uplink/uplink_factory.hpp"

namespace decklog::cli {

Result<std::unique_ptr<fleet::Fleet>> open_fleet(const config::Config& config) {
  if (config.uplink.kind != "nats") return fleet::open_local_fleet(config.uplink.directory);
  auto options = uplink::nats_options(config);
  if (!options) return options.error();
  return fleet::open_nats_fleet(std::move(*options));
}

}  // namespace decklog::cli
