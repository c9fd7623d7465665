// What the forwarder counts, since start. Labels as Azure's dashboards have them: `from` is a client id, `to`
// an endpoint ("upstream" or "<module>/<input>" as module and input), reasons in Azure's words where it has
// some. Owner: Forwarder.
#pragma once

#include <string>
#include <string_view>

#include "observability/histogram.hpp"
#include "observability/series.hpp"

namespace decklog::hub {

struct ForwarderStats {
  observability::Series<2, std::uint64_t> received;                    // (output, sender)
  observability::Series<1, observability::Bytes> sizes;                // by sender
  observability::Series<5, std::uint64_t> sent;                        // (from, to, output, input, priority)
  observability::Series<4, observability::Seconds> send_seconds;       // (from, to, output, input)
  observability::Series<3, observability::Seconds> process_seconds;    // (from, to, priority)
  observability::Series<3, std::uint64_t, 1> unacknowledged, dropped;  // (reason, from, output)
  observability::Seconds accept_seconds, commit_seconds;
  std::uint64_t publish_retries = 0;
};

// Reasons of the store under which a copy was kept for people.
inline constexpr std::string_view kUnreadable = "unreadable", kRefusedUpstream = "refused-upstream";
inline bool is_dead_letter(std::string_view reason) {
  return reason == kUnreadable || reason == kRefusedUpstream;
}
// The store's reasons in the words of Azure's metrics.
inline std::string_view metric_reason(std::string_view reason) {
  if (reason == "no-route") return "no_route";
  return reason == "expired" ? "ttl_expiry" : reason;
}

}  // namespace decklog::hub
