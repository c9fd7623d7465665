#include "services/workload/workload_handler.hpp"

#include <arpa/inet.h>

#include <boost/json.hpp>

namespace decklog::workload {
namespace {
namespace json = boost::json;
using http::json_error;
using http::Request;
using http::Response;

constexpr std::string_view kApiVersions[] = {"2018-06-28", "2019-01-30", "2019-10-22", "2019-11-05",
                                             "2020-07-07", "2021-12-07", "2022-08-03"};
constexpr std::size_t kJsonDepth = 8;

Response ok(const json::object& body, int status = 200) {
  return {status, "application/json", json::serialize(body), {}};
}

// Reads members of a small JSON object; the first problem is kept as the answer.
class Body final {
 public:
  explicit Body(const std::string& text) {
    json::parse_options options;
    options.max_depth = kJsonDepth;
    boost::system::error_code failure;
    json::value value = json::parse(text, failure, {}, options);
    if (failure || !value.is_object()) {
      problem_ = "the body is not a JSON object";
    } else {
      members_ = std::move(value.get_object());
    }
  }

  std::string text(std::string_view name) {
    auto found = optional_text(name);
    if (!found) refuse(std::string(name) + " is missing");
    return found.value_or("");
  }

  std::optional<std::string> optional_text(std::string_view name) {
    const auto* value = members_.if_contains(name);
    if (!value || value->is_null()) return std::nullopt;
    if (value->is_string()) return std::string(value->get_string());
    refuse(std::string(name) + " is not a string");
    return std::string();
  }

  std::string bytes(std::string_view name) {
    const std::string encoded = text(name);
    if (problem_) return {};
    auto decoded = from_base64(encoded);
    if (!decoded) refuse(std::string(name) + " is not base64");
    return decoded ? *decoded : std::string();
  }

  void refuse(std::string problem) {
    if (!problem_) problem_ = std::move(problem);
  }
  const std::optional<std::string>& problem() const { return problem_; }

 private:
  json::object members_;
  std::optional<std::string> problem_;
};

bool same_text(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

// One form for each host: no case, no dot at the end, IP addresses as bytes.
std::string host_form(std::string_view name) {
  std::string text(name);
  while (text.ends_with('.')) text.pop_back();
  unsigned char bytes[16];
  if (::inet_pton(AF_INET6, text.c_str(), bytes) == 1) return {reinterpret_cast<char*>(bytes), 16};
  return text;
}

bool same_host(std::string_view a, std::string_view b) {
  return same_text(host_form(a), host_form(b));
}

// What encrypt and decrypt are bound to: a re-created identity cannot read what the old one wrote. Lengths
// keep the parts apart.
std::string sealed_for(const ModuleIdentity& identity, std::string_view vector) {
  std::string aad;
  for (const std::string_view part :
       {std::string_view(identity.module_id), std::string_view(identity.generation_id), vector}) {
    aad += std::to_string(part.size()) + ":" + std::string(part);
  }
  return aad;
}

Response certificate_answer(const IssuedCertificate& issued) {
  return ok({{"privateKey", json::object{{"type", "key"}, {"bytes", issued.private_key_pem}}},
             {"certificate", issued.certificate_pem},
             {"expiration", to_rfc3339(issued.not_after)}},
            201);
}

Response failure_answer(const Error& failure) {
  return json_error(failure.code == Errc::kInvalidArgument ? 400 : 500, failure.message);
}

// Lifetime asked for by an RFC 3339 time; never longer than usual.
Duration lifetime_until(Body& body, WallTime now) {
  const auto text = body.optional_text("expiration");
  if (!text || text->empty()) return kCertificateLifetime;
  const auto time = parse_rfc3339(*text);
  if (!time) {
    body.refuse("expiration is not an RFC 3339 time");
  } else if (*time <= now) {
    body.refuse("expiration is in the past");
  } else {
    return std::min<Duration>(kCertificateLifetime, Duration(time->ns - now.ns));
  }
  return kCertificateLifetime;
}

std::string percent_encoded(std::string_view id) {
  std::string out;
  for (const char c : id) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : "%" + to_hex(std::string_view(&c, 1));
  }
  return out;
}

}  // namespace

WorkloadHandler::WorkloadHandler(WorkloadSettings settings, const DeviceKeys& keys,
                                 const IdentityService& identities, const EdgeCa& ca,
                                 std::function<std::vector<ModuleListItem>()> modules)
    : settings_(std::move(settings)),
      sealer_(keys.sealer("workload")),
      identities_(identities),
      ca_(ca),
      modules_(std::move(modules)) {}

Response WorkloadHandler::handle(const ModuleName& caller, const Request& request, WallTime now) const {
  const std::string_view version = request.parameter("api-version");
  if (std::find(std::begin(kApiVersions), std::end(kApiVersions), version) == std::end(kApiVersions)) {
    return json_error(400, version.empty() ? "api-version is missing" : "api-version is not supported");
  }
  const auto& path = request.segments;
  const auto get = [&](auto answer) {
    return request.method == "GET" ? answer() : json_error(405, "only GET is possible here");
  };
  if (path.size() == 1 && path[0] == "trust-bundle") {
    return get([&] { return ok({{"certificate", ca_.trust_bundle_pem()}}); });
  }
  if (path.size() == 1 && path[0] == "manifest-trust-bundle") {
    return get([&] { return json_error(404, "this device has no manifest trust bundle"); });
  }
  if (path.size() == 1 && path[0] == "modules") return get([&] { return list(); });
  if (path.size() < 4 || path[0] != "modules") return json_error(404, "no such path");

  const auto* identity = identities_.find(module_id_of(caller));
  if (!identity || !identity->enabled) return json_error(404, "this module has no identity");
  if (path[1] != identity->module_id && path[1] != caller.value) {
    return json_error(403, "this socket belongs to another module");
  }
  return own_module(*identity, request, now);
}

Response WorkloadHandler::own_module(const ModuleIdentity& identity, const Request& request,
                                     WallTime now) const {
  const auto& path = request.segments;
  const auto post = [&](auto answer) {
    return request.method == "POST" ? answer() : json_error(405, "only POST is possible here");
  };
  if (path.size() == 4 && path[2] == "certificate" && path[3] == "identity") {
    return post([&] { return identity_certificate(identity, request.body, now); });
  }
  if (path[2] != "genid" || path.size() < 5) return json_error(404, "no such path");
  const bool generation_fits = path[3] == identity.generation_id;
  const auto checked = [&](auto answer) {
    return generation_fits ? post(answer) : json_error(404, "the module has another generation id now");
  };
  if (path.size() == 5 && path[4] == "sign") return checked([&] { return sign(identity, request.body); });
  if (path.size() == 5 && path[4] == "encrypt")
    return checked([&] { return encrypt(identity, request.body); });
  if (path.size() == 5 && path[4] == "decrypt")
    return checked([&] { return decrypt(identity, request.body); });
  if (path.size() == 6 && path[4] == "certificate" && path[5] == "server") {
    return checked([&] { return server_certificate(identity, request.body, now); });
  }
  return json_error(404, "no such path");
}

Response WorkloadHandler::sign(const ModuleIdentity& identity, const std::string& text) const {
  Body body(text);
  const std::string key_id = body.text("keyId");
  const std::string algorithm = body.text("algo");
  const std::string data = body.bytes("data");
  if (!body.problem() && key_id != "primary" && key_id != "secondary")
    body.refuse("keyId is not primary or secondary");
  if (!body.problem() && !same_text(algorithm, "HMACSHA256")) body.refuse("algo is not HMACSHA256");
  if (body.problem()) return json_error(400, *body.problem());
  const auto key = from_base64(key_id == "primary" ? identity.keys.primary : identity.keys.secondary);
  if (!key) return json_error(500, "the module's key is not usable");
  return ok({{"digest", to_base64(hmac_sha256(*key, data))}});
}

// The caller's vector is bound, not used as a nonce: two texts under one vector would give both away.
Response WorkloadHandler::encrypt(const ModuleIdentity& identity, const std::string& text) const {
  Body body(text);
  const std::string plaintext = body.bytes("plaintext");
  const std::string vector = body.bytes("initializationVector");
  if (body.problem()) return json_error(400, *body.problem());
  return ok({{"ciphertext", to_base64(sealer_.seal(plaintext, sealed_for(identity, vector)))}});
}

Response WorkloadHandler::decrypt(const ModuleIdentity& identity, const std::string& text) const {
  Body body(text);
  const std::string ciphertext = body.bytes("ciphertext");
  const std::string vector = body.bytes("initializationVector");
  if (body.problem()) return json_error(400, *body.problem());
  const auto plaintext = sealer_.open(ciphertext, sealed_for(identity, vector));
  if (!plaintext)
    return json_error(400, "the ciphertext does not open for this module and initialization vector");
  return ok({{"plaintext", to_base64(*plaintext)}});
}

Response WorkloadHandler::server_certificate(const ModuleIdentity& identity, const std::string& text,
                                             WallTime now) const {
  Body body(text);
  CertificateRequest wanted;
  wanted.common_name = body.text("commonName");
  wanted.lifetime = lifetime_until(body, now);
  if (!body.problem() && wanted.common_name.empty()) body.refuse("commonName is empty");
  if (body.problem()) return json_error(400, *body.problem());
  const auto names_gateway = [&](const std::string& name) {
    return std::any_of(settings_.gateway_names.begin(), settings_.gateway_names.end(),
                       [&](const auto& one) { return same_host(one, name); });
  };
  const bool gateway = names_gateway(wanted.common_name);
  const bool may = settings_.gateway_modules.contains(identity.module_id);
  // A wildcard could cover the gateway's name as well.
  if (!may && (gateway || wanted.common_name.find('*') != std::string::npos)) {
    return json_error(403, "this module may not be certified for the gateway's name");
  }
  if (wanted.common_name != identity.module_id && identities_.find(wanted.common_name)) {
    return json_error(403, "this is another module's name");
  }
  wanted.alt_names = {wanted.common_name};
  // "$edgeHub" is no DNS name; the hub is known as edgeHub on the module network.
  const std::string own =
      identity.module_id.starts_with('$') ? identity.module_id.substr(1) : identity.module_id;
  if (own != wanted.common_name && (may || !names_gateway(own))) wanted.alt_names.push_back(own);
  if (gateway) {
    for (const auto& name : settings_.gateway_names) {
      if (!same_host(name, wanted.common_name)) wanted.alt_names.push_back(name);
    }
  }
  const auto issued = ca_.issue(wanted, now);
  return issued ? certificate_answer(*issued) : failure_answer(issued.error());
}

Response WorkloadHandler::identity_certificate(const ModuleIdentity& identity, const std::string& text,
                                               WallTime now) const {
  Body body(text.empty() ? "{}" : text);
  CertificateRequest wanted;
  wanted.use = CertificateUse::kClient;
  wanted.common_name = identity.module_id;
  wanted.lifetime = lifetime_until(body, now);
  if (body.problem()) return json_error(400, *body.problem());
  wanted.alt_names = {identity.module_id.starts_with('$') ? identity.module_id.substr(1)
                                                          : identity.module_id};
  wanted.uri = "azureiot://" + settings_.device.hub_host_name + "/devices/" +
               percent_encoded(settings_.device.device_id) + "/modules/" +
               percent_encoded(identity.module_id);
  const auto issued = ca_.issue(wanted, now);
  return issued ? certificate_answer(*issued) : failure_answer(issued.error());
}

Response WorkloadHandler::list() const {
  json::array items;
  for (const auto& one : modules_ ? modules_() : std::vector<ModuleListItem>()) {
    json::object status{
        {"runtimeStatus", json::object{{"status", one.status}, {"description", one.description}}}};
    if (one.started_at.ns != 0) status["startTime"] = to_rfc3339(one.started_at);
    // Settings and env of a neighbour are none of a module's business.
    items.push_back(
        json::object{{"id", one.name},
                     {"name", one.name},
                     {"type", one.type},
                     {"config", json::object{{"settings", json::object{}}, {"env", json::array{}}}},
                     {"status", std::move(status)}});
  }
  return ok({{"modules", std::move(items)}});
}

}  // namespace decklog::workload
