// The uplink a configuration names. Credentials are read from their files here and go nowhere else.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "services/config/config.hpp"
#include "services/uplink/nats_connection.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

Result<std::unique_ptr<Uplink>> make_uplink(boost::asio::any_io_executor executor,
                                            const config::Config& config);

// What the nats uplink and the fleet tools connect with; reads the credential files.
Result<NatsOptions> nats_options(const config::Config& config);

}  // namespace decklog::uplink
