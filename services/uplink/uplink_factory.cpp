#include "services/uplink/uplink_factory.hpp"

#include <cstdio>
#include <fstream>
#include <sstream>

#include "services/uplink/local_uplink.hpp"
#include "services/uplink/nats_uplink.hpp"

namespace decklog::uplink {
namespace {

Result<std::string> read_secret(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) return error(Errc::kNotFound, "cannot be read", file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::vector<std::string> split_servers(const std::string& text) {
  std::vector<std::string> servers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) servers.push_back(part);
  return servers;
}

NatsOptions without_secrets(const config::Config& config) {
  const auto& from = config.uplink;
  NatsOptions options;
  options.servers = split_servers(from.url);
  options.device = config.device;
  options.user = from.user;
  options.credentials_file = from.credentials_file;
  options.tls_ca_file = from.ca_file;
  options.tls_certificate_file = from.certificate_file;
  options.tls_key_file = from.key_file;
  return options;
}

}  // namespace

Result<NatsOptions> nats_options(const config::Config& config) {
  const auto& from = config.uplink;
  NatsOptions options = without_secrets(config);
  if (!from.password_file.empty()) {
    auto secret = read_secret(from.password_file);
    if (!secret) return secret.error();
    options.password = std::move(*secret);
  }
  if (!from.token_file.empty()) {
    auto secret = read_secret(from.token_file);
    if (!secret) return secret.error();
    options.token = std::move(*secret);
  }
  return options;
}

Result<std::unique_ptr<Uplink>> make_uplink(boost::asio::any_io_executor executor,
                                            const config::Config& config) {
  if (config.uplink.kind != "nats") {
    return make_local_uplink(executor, {.directory = config.uplink.directory, .device = config.device});
  }
  auto options = nats_options(config);
  if (!options) {
    // The fleet will refuse it, which is seen and tried again; the modules of the device are not the link's.
    std::fprintf(stderr, "decklog: uplink: %s; connecting without it until the next start\n",
                 describe(options.error()).c_str());
    options = without_secrets(config);
  }
  return make_nats_uplink(executor, std::move(*options));
}

}  // namespace decklog::uplink
