// What the engine is told.
#include <openssl/evp.h>

#include <boost/json.hpp>

#include "services/runtime/engine_json.hpp"

namespace decklog::runtime {
namespace json = boost::json;
namespace {

constexpr const char* kLogSize = "10m";
constexpr const char* kLogFiles = "3";

Error wrong_type(const char* what, const std::string& path) {
  return error(Errc::kMalformed, std::string("not ") + what, "createOptions." + path);
}

// The member as an object, made when missing or null. Null when it is something else.
json::object* object_member(json::object& in, std::string_view name) {
  json::value& value = in[name];
  if (value.is_null()) value = json::object();
  return value.if_object();
}

json::array* array_member(json::object& in, std::string_view name) {
  json::value& value = in[name];
  if (value.is_null()) value = json::array();
  return value.if_array();
}

Status merge_env(json::object& options, const ModuleSpec& spec) {
  json::array* theirs = array_member(options, "Env");
  if (!theirs) return wrong_type("an array", "Env");
  json::array merged;
  for (const auto& entry : *theirs) {
    if (!entry.is_string()) return wrong_type("an array of strings", "Env");
    const std::string_view text = entry.get_string();
    if (!spec.env.contains(std::string(text.substr(0, text.find('='))))) merged.push_back(entry);
  }
  for (const auto& [name, value] : spec.env) merged.emplace_back(name + "=" + value);
  *theirs = std::move(merged);
  return {};
}

Status merge_labels(json::object& options, const ModuleSpec& spec, const std::string& owner) {
  json::object* labels = object_member(options, "Labels");
  if (!labels) return wrong_type("an object", "Labels");
  (*labels)[kOwnerLabel] = owner;
  (*labels)[kModuleLabel] = spec.name.value;
  (*labels)[kSpecHashLabel] = spec.spec_hash;
  (*labels)[kImageLabel] = spec.image;
  (*labels)[kCreateOptionsLabel] = spec.create_options.empty() ? "{}" : spec.create_options;
  (*labels)[kEdgeOwnerLabel] = kEdgeOwner;
  return {};
}

Status merge_network(json::object& options, const ModuleSpec& spec) {
  json::object& host = options["HostConfig"].get_object();
  const json::value* mode_value = host.if_contains("NetworkMode");
  const json::string* mode_text = mode_value ? mode_value->if_string() : nullptr;
  const std::string mode = mode_text ? std::string(*mode_text) : std::string();
  const bool shares_network = mode.starts_with("container:");
  if (!spec.extra_hosts.empty() && !shares_network) {
    json::array* hosts = array_member(host, "ExtraHosts");
    if (!hosts) return wrong_type("an array", "HostConfig.ExtraHosts");
    for (const auto& entry : spec.extra_hosts) hosts->emplace_back(entry);
  }
  // A network of the user's own choice stays; "default" is not a choice.
  const bool chosen = !mode.empty() && mode != "default" && mode != spec.network;
  if (spec.network.empty() || chosen) return {};
  json::object* networking = object_member(options, "NetworkingConfig");
  if (!networking) return wrong_type("an object", "NetworkingConfig");
  json::object* endpoints = object_member(*networking, "EndpointsConfig");
  if (!endpoints) return wrong_type("an object", "NetworkingConfig.EndpointsConfig");
  if (!endpoints->empty() && !endpoints->contains(spec.network)) return {};
  json::object* endpoint = object_member(*endpoints, spec.network);
  if (!endpoint) return wrong_type("an object", "NetworkingConfig.EndpointsConfig." + spec.network);
  json::array* aliases = array_member(*endpoint, "Aliases");
  if (!aliases) return wrong_type("an array", "NetworkingConfig.EndpointsConfig.Aliases");
  for (const auto& alias : spec.network_aliases) aliases->emplace_back(alias);
  options["HostConfig"].get_object()["NetworkMode"] = spec.network;  // `host` may have moved
  return {};
}

Status merge_host(json::object& host, const ModuleSpec& spec) {
  if (!spec.mounts.empty()) {
    json::array* mounts = array_member(host, "Mounts");
    if (!mounts) return wrong_type("an array", "HostConfig.Mounts");
    for (const Mount& mount : spec.mounts) {
      // Not Binds: they cannot hold a ':' and make a directory where a socket is missing.
      mounts->push_back(json::object{{"Type", "bind"},
                                     {"Source", mount.source},
                                     {"Target", mount.target},
                                     {"ReadOnly", mount.read_only}});
    }
  }
  host["RestartPolicy"] = json::object{{"Name", "no"}};
  host["AutoRemove"] = false;
  const json::value* log = host.if_contains("LogConfig");
  if (!log || log->is_null()) {
    host["LogConfig"] =
        json::object{{"Type", "json-file"}, {"Config", {{"max-size", kLogSize}, {"max-file", kLogFiles}}}};
  }
  return {};
}

std::string base64url(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int n =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(n));
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

}  // namespace

ImageName split_image(std::string_view reference) {
  ImageName name;
  if (const auto at = reference.find('@'); at != std::string_view::npos) {
    name.digest = reference.substr(at + 1);
    reference = reference.substr(0, at);
  }
  // A colon before the last slash is a port.
  const auto slash = reference.rfind('/');
  const auto colon = reference.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    name.tag = reference.substr(colon + 1);
    reference = reference.substr(0, colon);
  }
  name.repository = reference;
  return name;
}

Result<std::string> create_body(const ModuleSpec& spec, const std::string& owner, const std::string& image) {
  boost::system::error_code failed;
  json::value value = json::parse(spec.create_options.empty() ? "{}" : spec.create_options, failed);
  if (failed) return error(Errc::kMalformed, "not JSON: " + failed.message(), "createOptions");
  if (value.is_null()) value = json::object();
  if (!value.is_object()) return error(Errc::kMalformed, "not a JSON object", "createOptions");
  json::object& options = value.get_object();
  options["Image"] = image;
  if (auto merged = merge_env(options, spec); !merged) return merged.error();
  if (auto merged = merge_labels(options, spec, owner); !merged) return merged.error();
  json::object* host = object_member(options, "HostConfig");
  if (!host) return wrong_type("an object", "HostConfig");
  if (auto merged = merge_host(*host, spec); !merged) return merged.error();
  if (auto merged = merge_network(options, spec); !merged) return merged.error();
  return json::serialize(value);
}

std::string network_body(const std::string& name, const std::string& owner) {
  return json::serialize(json::object{
      {"Name", name}, {"Driver", "bridge"}, {"CheckDuplicate", true}, {"Labels", {{kOwnerLabel, owner}}}});
}

std::string exec_body(const std::vector<std::string>& command) {
  json::array words;
  for (const auto& word : command) words.emplace_back(word);
  return json::serialize(
      json::object{{"AttachStdout", true}, {"AttachStderr", true}, {"Cmd", std::move(words)}});
}

std::string registry_auth(const RegistryCredential& credential) {
  return base64url(json::serialize(json::object{{"username", credential.username},
                                                {"password", credential.password},
                                                {"serveraddress", credential.address}}));
}

std::string encode_query(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      encoded += static_cast<char>(c);
    } else {
      encoded += {'%', kHex[c >> 4], kHex[c & 15]};
    }
  }
  return encoded;
}

std::string label_filter(const std::map<std::string, std::string>& labels, std::string_view more) {
  json::array list;
  for (const auto& [name, value] : labels) list.emplace_back(name + "=" + value);
  json::object filter{{"label", std::move(list)}};
  if (!more.empty()) filter["type"] = json::array{more};
  return encode_query(json::serialize(filter));
}

}  // namespace decklog::runtime
