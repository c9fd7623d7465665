#include "services/cli/fleet_access.hpp"

#include <fstream>
#include <iostream>
#include <sstream>

#include "services/uplink/uplink_factory.hpp"

namespace decklog::cli {

Result<std::unique_ptr<fleet::Fleet>> open_fleet(const config::Config& config) {
  if (config.uplink.kind != "nats") return fleet::open_local_fleet(config.uplink.directory);
  auto options = uplink::nats_options(config);
  if (!options) return options.error();
  return fleet::open_nats_fleet(std::move(*options));
}

Result<std::string> read_text(const std::string& file) {
  std::ostringstream text;
  if (file == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return error(Errc::kNotFound, "cannot be read", file);
  text << stream.rdbuf();
  return text.str();
}

}  // namespace decklog::cli
