// The uplink over NATS JetStream: subjects, keys and ids as services/uplink/README.md lists them.
//
// Owner: one service. Thread: the executor; blocking work (connect, socket writes) is done by one worker
// thread, which the destructor waits for (at most the deadline of the job that runs). nats.c's own reconnect
// is off. Failure and meaning: uplink.hpp. A stream that is missing or made anew is found and said, never
// waited for.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "services/uplink/nats_connection.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

std::unique_ptr<Uplink> make_nats_uplink(boost::asio::any_io_executor executor, NatsOptions options);

}  // namespace decklog::uplink
