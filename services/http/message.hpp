// What an HTTP handler sees and answers. Values; no sockets, no library types.
//
// A Request is complete and bounded when a handler gets it: header and body within the server's limits,
// target in origin form, segments and query percent-decoded. Header names are lower case.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.hpp"

namespace decklog::http {

// SO_PEERCRED: who connected, as the kernel saw it at connect time.
struct PeerCredentials {
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  friend bool operator==(const PeerCredentials&, const PeerCredentials&) = default;
};

struct Peer {
  std::optional<PeerCredentials> credentials;  // unix sockets only
  std::string address;                         // "127.0.0.1:4711", "[::1]:4711", "unix"
  std::string certificate_pem;                 // verified TLS client certificate, or empty
};

using Fields = std::map<std::string, std::string, std::less<>>;

struct Request {
  std::string method;                 // "GET"
  std::string target;                 // as sent: "/modules/a%20b?x=1"
  std::vector<std::string> segments;  // decoded: {"modules", "a b"}; a trailing slash adds nothing
  Fields query;                       // decoded; the last of equal names wins
  Fields headers;                     // names in lower case; equal names joined by ", "
  std::string body;
  Peer peer;

  const std::string* header(std::string_view lower_case_name) const;
  // Value of a query parameter, or empty.
  std::string_view parameter(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";  // empty = no such header (204)
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};

  const std::string* header(std::string_view lower_case_name) const;
};

// {"message": "..."} with that status: the error form of every API here.
Response json_error(int status, std::string_view message);

// Fills target, segments and query. kMalformed when it is not an origin-form target.
Status parse_target(std::string_view target, Request& request);

}  // namespace decklog::http
