// Lines: client id, user name, token. A token that was not signed with the key must never be accepted, one
// that was always is; nothing that a refusal says may come from the token.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/iothub/credentials.hpp"

namespace {

using namespace decklog;
using namespace decklog::iothub;

void must(bool holds) {
  if (!holds) std::abort();
}

std::string_view take_line(std::string_view& rest) {
  const auto end = rest.find('\n');
  const auto line = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return line;
}

const std::string kKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto client_id = take_line(rest), user_name = take_line(rest);
  const SasRules rules{{"hub.example.net"}, WallTime{1'000'000'000}};
  const auto name = parse_connect_name(client_id, user_name);
  if (name) {
    must(name->client.client_id() == client_id && !name->api_version.empty());
    const std::string resource = "hub.example.net/devices/" + name->client.device +
                                 (name->client.module.empty() ? "" : "/modules/" + name->client.module);
    const auto own = parse_sas_token(make_sas_token(resource, kKey, 2));
    must(own.has_value() && check_sas_token(*own, name->client, {kKey}, rules).has_value());
    must(!check_sas_token(*own, name->client, {kKey}, {rules.hosts, WallTime{2'000'000'000}}));
  }
  const auto token = parse_sas_token(rest);
  if (!token) {
    must(token.error().code == Errc::kUnauthenticated && token.error().message.size() < 32);
    return 0;
  }
  const ClientName client = name ? name->client : ClientName{"edge-1", ""};
  must(!check_sas_token(*token, client, {"bm90IHRoZSBrZXkgb2YgYW55IHRva2VuIGhlcmUgISE="}, rules));
  (void)check_sas_token(*token, client, {kKey, "", "not base64"}, rules);
  return 0;
}
