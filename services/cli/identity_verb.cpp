// `decklog fleet identity`: who may connect to a device's hub. Records as IoT Hub's registry keeps them.
#include <boost/json.hpp>
#include <cstdio>
#include <optional>

#include "services/cli/fleet_access.hpp"
#include "services/hub/identities.hpp"
#include "services/workload/crypto.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

struct IdentityArguments {
  std::string device, module, put;
  std::vector<std::string> thumbprints;
  bool make = false, authority = false, enable = false, disable = false, remove = false;
};

constexpr std::size_t kThumbprintDigits = 40;  // SHA-1, as IoT Hub's registry and its SDKs show it
constexpr std::size_t kLongThumbprintDigits = 64;

json::object symmetric_keys() {
  const auto key = [] { return workload::to_base64(workload::random_bytes(workload::kKeyBytes)); };
  return {{"type", "sas"}, {"symmetricKey", json::object{{"primaryKey", key()}, {"secondaryKey", key()}}}};
}

Result<json::object> self_signed(const std::vector<std::string>& thumbprints) {
  std::vector<std::string> plain;
  for (const std::string& given : thumbprints) {
    std::string digits;
    for (const char c : given) {
      if (c != ':') digits += c;
    }
    const bool whole = digits.size() == kThumbprintDigits || digits.size() == kLongThumbprintDigits;
    if (!whole || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      return error(Errc::kInvalidArgument, "must be the 40 or 64 hexadecimal digits of a fingerprint",
                   "--thumbprint");
    plain.push_back(digits);
  }
  return json::object{{"type", "selfSigned"},
                      {"x509Thumbprint", json::object{{"primaryThumbprint", plain.front()},
                                                      {"secondaryThumbprint", plain.back()}}}};
}

Result<json::object> new_record(const IdentityArguments& arguments) {
  json::object proof{{"type", "certificateAuthority"}};
  if (!arguments.thumbprints.empty()) {
    auto prints = self_signed(arguments.thumbprints);
    if (!prints) return prints.error();
    proof = std::move(*prints);
  } else if (!arguments.authority) {
    proof = symmetric_keys();
  }
  json::object record{{"deviceId", arguments.device}};
  if (!arguments.module.empty()) record["moduleId"] = arguments.module;
  record["generationId"] = workload::to_hex(workload::random_bytes(8));
  record["status"] = "enabled";
  record["authentication"] = std::move(proof);
  return record;
}

// What an SDK's fromConnectionString() takes. SDKs look at GatewayHostName beside a key only; with a
// certificate the gateway is their host.
std::string connection_string(const config::Config& config, const json::object& record) {
  const auto& proof = record.at("authentication").as_object();
  const auto* keys = proof.if_contains("symmetricKey");
  std::string out = "HostName=" + (keys ? config.iothub_hostname : config.gateway_hostname);
  out += ";DeviceId=" + std::string(record.at("deviceId").as_string());
  if (const auto* module = record.if_contains("moduleId"))
    out += ";ModuleId=" + std::string(module->as_string());
  if (!keys) return out + ";x509=true";
  out += ";SharedAccessKey=" + std::string(keys->at("primaryKey").as_string());
  return out + ";GatewayHostName=" + config.gateway_hostname;
}

Status put(fleet::Fleet& fleet, const IdentityArguments& arguments, const std::string& text) {
  const auto facts = hub::parse_identity_facts(text);
  if (!facts) return facts.error();
  if (facts->proof == hub::IdentityFacts::Proof::kNone) {
    return error(Errc::kInvalidArgument,
                 "the record names no key, thumbprint or authority: nobody could connect", "authentication");
  }
  return fleet.put_identity({arguments.device, arguments.module}, text);
}

int make(const config::Config& config, fleet::Fleet& fleet, const IdentityArguments& arguments) {
  const uplink::TwinKey key{arguments.device, arguments.module};
  const auto there = fleet.get_identity(key);
  if (!there) return complain(there.error());
  if (there->revision != 0 && !there->json.empty()) {
    return complain(error(Errc::kConflict,
                          "there is such an identity; --remove it first to give it other keys",
                          arguments.device + (arguments.module.empty() ? "" : "/" + arguments.module)));
  }
  const auto record = new_record(arguments);
  if (!record) return complain(record.error()), kUsage;
  const Status done = put(fleet, arguments, json::serialize(*record));
  if (!done) return complain(done.error());
  std::puts(connection_string(config, *record).c_str());
  return kDone;
}

int set_status(fleet::Fleet& fleet, const IdentityArguments& arguments) {
  const uplink::TwinKey key{arguments.device, arguments.module};
  const auto there = fleet.get_identity(key);
  if (!there) return complain(there.error());
  boost::system::error_code failed;
  json::value record = json::parse(there->json, failed);
  if (there->revision == 0 || failed || !record.is_object())
    return complain(error(Errc::kNotFound, "no identity record", arguments.device));
  record.as_object()["status"] = arguments.disable ? "disabled" : "enabled";
  const Status done = fleet.put_identity(key, json::serialize(record));
  return done ? kDone : complain(done.error());
}

int run(const Session& session, IdentityArguments arguments) {
  const auto config = session.config();
  if (!config) return complain(config.error()), kUsage;
  if (arguments.device.empty()) arguments.device = config->device;
  auto opened = open_fleet(*config);
  if (!opened) return complain(opened.error());
  fleet::Fleet& fleet = **opened;
  if (arguments.make) return make(*config, fleet, arguments);
  if (arguments.enable || arguments.disable) return set_status(fleet, arguments);
  if (arguments.remove) {
    const Status done = fleet.remove_identity({arguments.device, arguments.module});
    return done ? kDone : complain(done.error());
  }
  const auto text = read_text(arguments.put);
  if (!text) return complain(text.error());
  const Status done = put(fleet, arguments, *text);
  return done ? kDone : complain(done.error());
}

}  // namespace

void add_identity_verb(CLI::App& fleet, Session& session) {
  auto arguments = std::make_shared<IdentityArguments>();
  auto* verb = fleet.add_subcommand("identity",
                                    "Make, put, disable or remove an identity: who may connect to the hub");
  verb->add_option("--device", arguments->device, "device; default: the configuration's");
  verb->add_option("--module", arguments->module, "module; none = the device itself");
  auto* what = verb->add_option_group("what to do");
  auto* fresh = what->add_flag("--new", arguments->make,
                               "make one and print its connection string, keys are shown only here");
  what->add_option("--put", arguments->put, "file with a whole record; - reads standard input");
  what->add_flag("--disable", arguments->disable, "cut it off at once, keep its record");
  what->add_flag("--enable", arguments->enable, "let it connect again");
  what->add_flag("--remove", arguments->remove, "remove it");
  what->require_option(1);
  auto* prints =
      verb->add_option("--thumbprint", arguments->thumbprints,
                       "with --new: X.509, fingerprint of its certificate; twice for a second one");
  prints->needs(fresh)->expected(1, 2);
  verb->add_flag("--authority", arguments->authority,
                 "with --new: X.509, signed by an authority in hub.client_ca_file")
      ->needs(fresh)
      ->excludes(prints);
  verb->footer(
      "Examples:\n  decklog fleet identity --device leaf-1 --new\n"
      "  decklog fleet identity --device leaf-1 --disable");
  verb->callback(
      [&session, arguments] { session.action = [&session, arguments] { return run(session, *arguments); }; });
}

}  // namespace decklog::cli
