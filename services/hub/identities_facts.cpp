// Identity records as the fleet keeps them.
#include <boost/json.hpp>

#include "services/hub/identities.hpp"

namespace decklog::hub {

namespace json = boost::json;

namespace {

std::string text(const json::object& object, const char* name) {
  const auto* found = object.if_contains(name);
  return found && found->is_string() ? std::string(found->get_string()) : std::string();
}

const json::object* child(const json::object* object, const char* name) {
  const auto* found = object ? object->if_contains(name) : nullptr;
  return found ? found->if_object() : nullptr;
}

// "Certificate Authority", "certificateAuthority" and "certificate_authority" are the same.
std::string plain(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (std::isalpha(static_cast<unsigned char>(c)))
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string thumbprint(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::isxdigit(static_cast<unsigned char>(c)))
      out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

void add(std::vector<std::string>& list, std::string value) {
  if (!value.empty()) list.push_back(std::move(value));
}

}  // namespace

Result<IdentityFacts> parse_identity_facts(std::string_view document) {
  json::parse_options options;
  options.max_depth = 16;
  boost::system::error_code failed;
  const auto value = json::parse(document, failed, {}, options);
  const auto* root = failed ? nullptr : value.if_object();
  if (!root) return error(Errc::kMalformed, "the identity record is not a JSON object");
  IdentityFacts facts;
  facts.enabled = plain(text(*root, "status")) != "disabled";
  const auto* authentication = child(root, "authentication");
  if (const auto* keys = child(authentication, "symmetricKey")) {
    add(facts.keys, text(*keys, "primaryKey"));
    add(facts.keys, text(*keys, "secondaryKey"));
  }
  if (const auto* prints = child(authentication, "x509Thumbprint")) {
    for (const char* name : {"primary", "primaryThumbprint", "secondary", "secondaryThumbprint"})
      add(facts.thumbprints, thumbprint(text(*prints, name)));
  }
  using Proof = IdentityFacts::Proof;
  const std::string type = authentication ? plain(text(*authentication, "type")) : std::string();
  if (type == "certificateauthority" || type == "ca") {
    facts.proof = Proof::kAuthority;
  } else if (type == "selfsigned" || type.find("thumbprint") != std::string::npos) {
    facts.proof = Proof::kThumbprint;
  } else if (type == "sas" || type == "symmetrickey") {
    facts.proof = Proof::kKeys;
  } else if (type.empty()) {
    facts.proof = !facts.keys.empty()          ? Proof::kKeys
                  : !facts.thumbprints.empty() ? Proof::kThumbprint
                                               : Proof::kNone;
  }
  return facts;
}

}  // namespace decklog::hub
