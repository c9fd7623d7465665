// Starts a keeper process and talks to it once: request out, reply in. Asynchronous on the executor.
// Failure: kIo when the keeper cannot be spawned, kTimeout when it does not answer, kInternal when it answers
// nonsense.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <vector>

#include "services/runtime/keeper_protocol.hpp"
#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

// Dropping the handle closes the conversation: a module that was asked for may still start, a probe is ended.
Handle launch_keeper(boost::asio::any_io_executor executor, const std::vector<std::string>& keeper_command,
                     const KeeperRequest& request, Duration deadline, Callback<KeeperReply> done);

}  // namespace decklog::runtime
