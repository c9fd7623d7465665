// Who a client says it is, and whether its token proves it. Pure: time is an argument. Messages never quote a
// token.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "events/instant.hpp"
#include "services/iothub/topics.hpp"

namespace decklog::iothub {

// From CONNECT: client id "<device>[/<module>]" and user name "<host>/<client id>/?api-version=..." (the form
// without
// '?' is accepted too); both must name the same client.
struct ConnectName {
  ClientName client;
  std::string host;  // IoT hub host name as the client knows it
  std::string api_version;
  std::string model_id;
};
Result<ConnectName> parse_connect_name(std::string_view client_id, std::string_view user_name);

struct SasToken {
  std::string resource;          // decoded sr
  std::string encoded_resource;  // as sent: that is what is signed
  std::string signature;         // decoded, base64
  std::int64_t expiry_s = 0;     // Unix time
  std::string key_name;          // skn, or empty
};
Result<SasToken> parse_sas_token(std::string_view token);

struct SasRules {
  std::vector<std::string> hosts;  // host part of the resource must be one of these, ignoring case
  WallTime now;
};
// Signature by one of `keys` (base64), for this client (or, for a module, its device's resource with a device
// key), not expired. kUnauthenticated with a cause such as "expired", "bad-signature", "wrong-resource".
Status check_sas_token(const SasToken& token, const ClientName& client, const std::vector<std::string>& keys,
                       const SasRules& rules);

std::string make_sas_token(std::string_view resource, std::string_view base64_key, std::int64_t expiry_s);

}  // namespace decklog::iothub
