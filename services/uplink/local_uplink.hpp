// The uplink over a directory: the embedded default, and what demos and tests can look into and cut.
//
// Layout, file formats and guarantees: services/uplink/README.md. `touch <dir>/OFFLINE` cuts the link,
// removing the file lets the next connect() succeed; a directory that is gone or cannot be written is a link
// that is lost. Owner: one service; agent and hub of a device share one directory (changes are made under a
// file lock). Thread: the executor; file work and fsync are done by one worker thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "events/instant.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

struct LocalOptions {
  std::string directory;                          // made by the first connect() of this object
  std::string device;                             // the sender in message ids
  std::uint64_t segment_bytes = 8 * 1024 * 1024;  // a telemetry or event file is closed when it reaches this
  std::uint64_t log_bytes_max =
      256ull * 1024 * 1024;                   // of one device's telemetry or one service's events; oldest go
  Duration rescan = std::chrono::seconds(5);  // besides inotify, which not every file system has
};

std::unique_ptr<Uplink> make_local_uplink(boost::asio::any_io_executor executor, LocalOptions options);

}  // namespace decklog::uplink
