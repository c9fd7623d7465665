#include "services/iothub/credentials.hpp"

#include <charconv>

#include "services/workload/crypto.hpp"

namespace decklog::iothub {
namespace {

constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::size_t kMaxIdBytes = 128;

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
         });
}

bool valid_id(std::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes) return false;
  // Ids end up in topics, keys and file names: no control characters, wildcards or separators.
  for (const char c : id) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte >= 0x7F || c == '/' || c == '#' || c == '+') return false;
  }
  return true;
}

Result<ClientName> parse_client_id(std::string_view client_id) {
  ClientName client;
  const auto slash = client_id.find('/');
  client.device = client_id.substr(0, slash);
  if (slash != std::string_view::npos) client.module = client_id.substr(slash + 1);
  const bool module_ok = slash == std::string_view::npos || valid_id(client.module);
  if (!valid_id(client.device) || !module_ok) return error(Errc::kMalformed, "bad-client-id");
  return client;
}

Error refuse(const char* cause) {
  return error(Errc::kUnauthenticated, cause);
}

}  // namespace

Result<ConnectName> parse_connect_name(std::string_view client_id, std::string_view user_name) {
  ConnectName name;
  const auto client = parse_client_id(client_id);
  if (!client) return client.error();
  name.client = *client;
  const auto slash = user_name.find('/');
  if (slash == std::string_view::npos || slash == 0) return error(Errc::kMalformed, "bad-user-name");
  name.host = user_name.substr(0, slash);
  std::string_view rest = user_name.substr(slash + 1);
  const std::string id = name.client.client_id();
  if (!rest.starts_with(id) || rest.size() == id.size() || rest[id.size()] != '/')
    return error(Errc::kMalformed, "user-name-and-client-id-differ");
  rest.remove_prefix(id.size() + 1);
  if (rest.starts_with('?')) rest.remove_prefix(1);
  while (!rest.empty()) {
    const auto end = rest.find('&');
    const auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equal = pair.find('=');
    if (equal == std::string_view::npos) continue;
    if (pair.substr(0, equal) == "api-version") name.api_version = pair.substr(equal + 1);
    if (pair.substr(0, equal) == "model-id") name.model_id = pair.substr(equal + 1);
  }
  if (name.api_version.empty()) return error(Errc::kMalformed, "no-api-version");
  return name;
}

Result<SasToken> parse_sas_token(std::string_view text) {
  static constexpr std::string_view kPrefix = "SharedAccessSignature ";
  if (text.size() > kMaxTokenBytes || !text.starts_with(kPrefix)) return refuse("not-a-token");
  text.remove_prefix(kPrefix.size());
  SasToken token;
  bool has_expiry = false;
  while (!text.empty()) {
    const auto end = text.find('&');
    const auto pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const auto equal = pair.find('=');
    if (equal == std::string_view::npos) return refuse("malformed-token");
    const auto name = pair.substr(0, equal), value = pair.substr(equal + 1);
    auto decoded = percent_decode(value);
    if (!decoded) return refuse("malformed-token");
    if (name == "sr") {
      token.encoded_resource = value;
      token.resource = std::move(*decoded);
    } else if (name == "sig") {
      token.signature = std::move(*decoded);
    } else if (name == "skn") {
      token.key_name = std::move(*decoded);
    } else if (name == "se") {
      const auto [stop, failed] = std::from_chars(value.data(), value.data() + value.size(), token.expiry_s);
      if (failed != std::errc{} || stop != value.data() + value.size()) return refuse("malformed-token");
      has_expiry = true;
    }
  }
  if (token.resource.empty() || token.signature.empty() || !has_expiry) return refuse("malformed-token");
  return token;
}

Status check_sas_token(const SasToken& token, const ClientName& client, const std::vector<std::string>& keys,
                       const SasRules& rules) {
  if (token.expiry_s <= rules.now.ns / 1'000'000'000) return refuse("expired");
  const auto slash = token.resource.find('/');
  const std::string_view host = std::string_view(token.resource).substr(0, slash);
  const std::string_view path =
      slash == std::string::npos ? std::string_view() : std::string_view(token.resource).substr(slash);
  const bool host_ok = std::any_of(rules.hosts.begin(), rules.hosts.end(),
                                   [&](const std::string& known) { return same_ignoring_case(known, host); });
  const std::string device = "/devices/" + client.device;
  const std::string whole = client.module.empty() ? device : device + "/modules/" + client.module;
  // Ids are percent-encoded once more inside the resource by some SDKs, and not by others.
  const auto twice = percent_decode(path);
  const bool path_ok = path == whole || path == device || (twice && (*twice == whole || *twice == device));
  if (!host_ok || !path_ok) return refuse("wrong-resource");
  const std::string signed_text = token.encoded_resource + "\n" + std::to_string(token.expiry_s);
  for (const auto& key : keys) {
    const auto raw = workload::from_base64(key);
    if (!raw || raw->empty()) continue;
    if (workload::same_secret(workload::to_base64(workload::hmac_sha256(*raw, signed_text)), token.signature))
      return {};
  }
  return refuse("bad-signature");
}

std::string make_sas_token(std::string_view resource, std::string_view base64_key, std::int64_t expiry_s) {
  const std::string encoded = percent_encode(resource);
  const auto key = workload::from_base64(base64_key);
  const std::string signature =
      workload::to_base64(workload::hmac_sha256(key ? *key : "", encoded + "\n" + std::to_string(expiry_s)));
  return "SharedAccessSignature sr=" + encoded + "&sig=" + percent_encode(signature) +
         "&se=" + std::to_string(expiry_s);
}

}  // namespace decklog::iothub
