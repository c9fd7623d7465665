#include "services/workload/identities.hpp"

#include <boost/json.hpp>

#include "services/workload/identity_file.hpp"
#include "services/workload/private_file.hpp"

namespace decklog::workload {
namespace {
namespace json = boost::json;

constexpr std::size_t kFileLimitBytes = 4 * 1024 * 1024;
constexpr std::string_view kPurpose = "identities";
constexpr std::size_t kGenerationDigits = 18;

// "" when it is missing or not a text.
std::string text(const json::object& members, std::string_view name) {
  const auto* value = members.if_contains(name);
  const auto* found = value ? value->if_string() : nullptr;
  return found ? std::string(*found) : std::string();
}

std::string new_generation() {
  std::string digits;
  while (digits.size() < kGenerationDigits) {
    for (const char c : random_bytes(kGenerationDigits)) {
      const auto value = static_cast<unsigned char>(c);
      if (value < 250 && digits.size() < kGenerationDigits) digits += static_cast<char>('0' + value % 10);
    }
  }
  if (digits.front() == '0') digits.front() = '6';
  return digits;
}

bool is_key(const std::string& base64) {
  const auto bytes = from_base64(base64);
  return bytes && !bytes->empty() && bytes->size() <= 64;
}

Result<IdentityMap> parse_identities(std::string_view document, const std::string& file) {
  const auto damaged = [&] { return error(Errc::kCorrupt, "the identity file does not parse", file); };
  boost::system::error_code failure;
  const json::value value = json::parse(document, failure);
  const auto* root = failure ? nullptr : value.if_object();
  const auto* modules = root && root->contains("modules") ? root->at("modules").if_array() : nullptr;
  if (!modules) return damaged();
  IdentityMap found;
  for (const auto& item : *modules) {
    const auto* members = item.if_object();
    if (!members) return damaged();
    ModuleIdentity one;
    one.module_id = text(*members, "moduleId");
    one.generation_id = text(*members, "generationId");
    one.keys = {text(*members, "primaryKey"), text(*members, "secondaryKey")};
    one.enabled = text(*members, "status") != "disabled";
    one.from_upstream = text(*members, "origin") == "upstream";
    if (one.module_id.empty() || !is_key(one.keys.primary) || !is_key(one.keys.secondary)) return damaged();
    found.emplace(one.module_id, std::move(one));
  }
  return found;
}

}  // namespace

std::string module_id_of(const ModuleName& name) {
  return name.value == "edgeAgent" || name.value == "edgeHub" ? "$" + name.value : name.value;
}

Result<ModuleIdentity> parse_identity_record(std::string_view document) {
  json::parse_options options;
  options.max_depth = 16;
  boost::system::error_code failure;
  const json::value value = json::parse(document, failure, {}, options);
  const auto* root = failure ? nullptr : value.if_object();
  if (!root) return error(Errc::kMalformed, "the identity record is not a JSON object");
  ModuleIdentity identity;
  identity.module_id = text(*root, "moduleId");
  identity.generation_id = text(*root, "generationId");
  identity.enabled = text(*root, "status") != "disabled";
  identity.from_upstream = true;
  const auto* authentication = root->if_contains("authentication");
  const auto* parts = authentication ? authentication->if_object() : nullptr;
  const auto* symmetric = parts ? parts->if_contains("symmetricKey") : nullptr;
  if (const auto* keys = symmetric ? symmetric->if_object() : nullptr) {
    identity.keys = {text(*keys, "primaryKey"), text(*keys, "secondaryKey")};
  }
  if (identity.module_id.empty()) return error(Errc::kMalformed, "is missing or empty", "$.moduleId");
  if (identity.generation_id.empty()) return error(Errc::kMalformed, "is missing or empty", "$.generationId");
  if (identity.keys.secondary.empty()) identity.keys.secondary = identity.keys.primary;
  if (!is_key(identity.keys.primary) || !is_key(identity.keys.secondary)) {
    return error(Errc::kMalformed, "has no usable base64 key", "$.authentication.symmetricKey");
  }
  return identity;
}

Result<IdentityMap> read_identities(const std::string& file, const DeviceKeys& keys) {
  const auto sealed = read_private_file(file, kFileLimitBytes);
  if (!sealed) return sealed.error();
  auto document = keys.sealer(kPurpose).open(*sealed, kPurpose);
  if (!document) {
    Error failure = document.error();
    failure.where = file;
    return failure;
  }
  return parse_identities(*document, file);
}

Status write_identities(const std::string& file, const DeviceKeys& keys, const IdentityMap& identities) {
  json::array modules;
  for (const auto& [id, one] : identities) {
    modules.push_back(json::object{{"moduleId", id},
                                   {"generationId", one.generation_id},
                                   {"primaryKey", one.keys.primary},
                                   {"secondaryKey", one.keys.secondary},
                                   {"status", one.enabled ? "enabled" : "disabled"},
                                   {"origin", one.from_upstream ? "upstream" : "device"}});
  }
  const std::string document = json::serialize(json::object{{"version", 1}, {"modules", std::move(modules)}});
  return write_private_file(file, keys.sealer(kPurpose).seal(document, kPurpose), IfExists::kReplace);
}

Result<IdentityService> IdentityService::open(std::string file, const DeviceKeys& keys) {
  auto found = read_identities(file, keys);
  if (!found && found.error().code != Errc::kNotFound) return found.error();
  IdentityService service(std::move(file), keys);
  if (found) service.identities_ = std::move(*found);
  return service;
}

Status IdentityService::replace(IdentityMap next) {
  if (auto written = write_identities(file_, keys_, next); !written) return written;
  identities_ = std::move(next);
  return {};
}

Result<ModuleIdentity> IdentityService::ensure(const ModuleName& name) {
  const std::string id = module_id_of(name);
  if (const auto* known = find(id)) return *known;
  if (identities_.size() >= kMaxIdentities) {
    return error(Errc::kTooLarge, "no more than " + std::to_string(kMaxIdentities) + " module identities");
  }
  ModuleIdentity made;
  made.module_id = id;
  made.generation_id = new_generation();
  made.keys = keys_.module_keys(id, made.generation_id);
  IdentityMap next = identities_;
  next.emplace(id, made);
  if (auto replaced = replace(std::move(next)); !replaced) return replaced.error();
  return made;
}

Status IdentityService::adopt(const ModuleIdentity& identity) {
  const auto* known = find(identity.module_id);
  if (known && *known == identity) return {};
  if (!known && identities_.size() >= kMaxIdentities) {
    return error(Errc::kTooLarge, "no more than " + std::to_string(kMaxIdentities) + " module identities");
  }
  IdentityMap next = identities_;
  next.insert_or_assign(identity.module_id, identity);
  return replace(std::move(next));
}

Status IdentityService::remove(const ModuleName& name) {
  IdentityMap next = identities_;
  if (next.erase(module_id_of(name)) == 0) return {};
  return replace(std::move(next));
}

const ModuleIdentity* IdentityService::find(std::string_view module_id) const {
  const auto found = identities_.find(module_id);
  return found == identities_.end() ? nullptr : &found->second;
}

}  // namespace decklog::workload
