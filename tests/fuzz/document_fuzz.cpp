// Any bytes as a document from the fleet: a deployment, its redaction, routes, and what a refusal says about
// it.
#include <boost/json.hpp>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/agent/deployment.hpp"
#include "services/routing/route_document.hpp"
#include "services/workload/redact.hpp"

namespace {

namespace json = boost::json;
using namespace decklog;

void must(bool holds) {
  if (!holds) std::abort();
}

constexpr const char* kPlanted = "planted-secret-7341";

const workload::KeyedDigest& digests() {
  static const workload::KeyedDigest made{workload::Key{}};
  return made;
}

void redact_with_a_secret_planted(std::string_view text) {
  boost::system::error_code failed;
  json::parse_options options;
  options.max_depth = 60;
  auto value = json::parse(text, failed, {}, options);
  if (failed || !value.is_object()) return;
  if (!workload::find_secrets(text, {kPlanted}).empty())
    return;  // it stands where nobody would look for a secret
  value.get_object()["password"] = kPlanted;
  value.get_object()["env"] = json::object{{"PLAIN", {{"value", kPlanted}}}};
  const auto redacted = workload::redact(json::serialize(value), digests());
  if (redacted) must(workload::find_secrets(*redacted, {kPlanted}).empty());
}

// The core only ever sees the redacted form: it must be taken whenever the original is, as the same modules.
void same_from_redacted(const agent::Deployment& deployment, const std::string& redacted) {
  const auto seen = agent::parse_deployment(redacted);
  must(seen.has_value() && seen->modules.size() == deployment.modules.size());
  for (const auto& [name, module] : deployment.modules) {
    const auto found = seen->modules.find(name);
    must(found != seen->modules.end() && found->second.policy == module.policy &&
         found->second.kind == module.kind);
  }
}

void routes(std::string_view text) {
  boost::system::error_code failed;
  const auto value = json::parse(text, failed);
  if (failed) return;
  for (const char* schema : {"1.0", "1.1"}) {
    const auto compiled = routing::compile_routes(value, schema);
    if (!compiled) must(!compiled.error().message.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto deployment = agent::parse_deployment(text);
  if (!deployment) {
    const int code = agent::desired_status_code(deployment.error());
    must(code == 400 || code == 412 || code == 417);
    must(!describe(deployment.error()).empty());
  }
  const auto redacted = workload::redact(text, digests());
  if (deployment) must(redacted.has_value());
  if (deployment) same_from_redacted(*deployment, *redacted);
  redact_with_a_secret_planted(text);
  routes(text);
  return 0;
}
