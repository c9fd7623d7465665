#include "services/uplink/uplink.hpp"

namespace decklog::uplink {

const char* to_string(LinkCause cause) {
  switch (cause) {
    case LinkCause::kNone:
      return "none";
    case LinkCause::kDns:
      return "dns";
    case LinkCause::kRefusedByHost:
      return "refused-by-host";
    case LinkCause::kTimeout:
      return "timeout";
    case LinkCause::kTls:
      return "tls";
    case LinkCause::kAuth:
      return "auth";
    case LinkCause::kClosed:
      return "closed";
    case LinkCause::kPingMissed:
      return "ping-missed";
    case LinkCause::kProtocol:
      return "protocol";
    case LinkCause::kIo:
      return "io";
    case LinkCause::kPermission:
      return "permission";
    case LinkCause::kRequested:
      return "requested";
  }
  return "unknown";
}

}  // namespace decklog::uplink
