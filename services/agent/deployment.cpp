#include "services/agent/deployment.hpp"

#include <openssl/evp.h>

#include <array>
#include <cctype>

#include "events/utf8.hpp"
#include "services/agent/json_reader.hpp"
#include "services/agent/stored_deployment.hpp"

namespace decklog::agent {
namespace {

namespace json = boost::json;
using runtime::PullPolicy;
using runtime::RuntimeKind;

enum class Reading : std::uint8_t { kNew, kStored };

std::array<std::uint8_t, 32> sha256(std::string_view text) {
  std::array<std::uint8_t, 32> digest{};
  unsigned size = 0;
  DECKLOG_ASSERT(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  return digest;
}

std::string hex(const std::array<std::uint8_t, 32>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// createOptions, createOptions01 ... createOptions99 joined: twin strings were limited to 512 characters
// once.
std::string join_create_options(const Reader& settings) {
  std::string text;
  if (const auto first = settings.find("createOptions")) {
    if (first->value().is_object()) return json::serialize(first->value());
    text = first->text();
  }
  for (int chunk = 1; chunk <= 99; ++chunk) {
    char name[40];
    std::snprintf(name, sizeof name, "createOptions%02d", chunk);
    const auto part = settings.find(name);
    if (!part) break;
    text += part->text();
  }
  const Reader where(settings.value(), member_path(settings.path(), "createOptions"));
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text == "null") return "{}";
  auto parsed = parse_strict_json(text, kMaxDocumentDepth);
  if (!parsed) where.refuse(parsed.error().message);
  if (!parsed->is_object()) where.refuse("must hold a JSON object");
  return json::serialize(*parsed);
}

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What a module of the other type has says nothing here, and a limit or digest that says nothing is a trap.
void check_settings_members(const Reader& settings, RuntimeKind kind, Reading reading) {
  for (const auto& member : settings.object()) {
    const std::string_view name(member.key().data(), member.key().size());
    if (name.starts_with('$') || name == "digest") continue;
    const bool chunk = name.size() == 15 && name.starts_with("createOptions") && std::isdigit(name[13]) &&
                       std::isdigit(name[14]);
    const bool docker = chunk || one_of(name, {"image", "createOptions", "imageHash", "auth"});
    const bool process = one_of(name, {"command", "workingDirectory", "user", "memoryLimitBytes"});
    if (kind == RuntimeKind::kDocker ? docker : process) continue;
    const Reader where(member.value(), member_path(settings.path(), name));
    if (!docker && !process) where.refuse("unknown member");
    if (reading == Reading::kNew)
      where.refuse(docker ? "is for modules of type docker" : "is for modules of type process");
  }
}

std::vector<std::string> read_command(const Reader& reader) {
  std::vector<std::string> command;
  for (std::size_t i = 0; i < reader.array().size(); ++i) command.push_back(reader.item(i).text());
  if (command.empty() || command.front().empty()) reader.refuse("must name a program");
  if (command.size() > 256) reader.refuse("more than 256 arguments");
  return command;
}

Probe read_probe(const Reader& reader) {
  reader.expect_members(
      {"http", "tcp", "exec", "intervalSecs", "timeoutSecs", "failureThreshold", "successThreshold"});
  Probe probe;
  int kinds = 0;
  if (const auto http = reader.find("http")) {
    http->expect_members({"port", "path"});
    probe.kind = Probe::Kind::kHttp;
    probe.port = static_cast<std::uint16_t>(http->at("port").number(1, 65535));
    if (const auto path = http->find("path")) {
      probe.path = path->text();
      const bool odd = std::any_of(probe.path.begin(), probe.path.end(),
                                   [](unsigned char c) { return c <= ' ' || c > '~'; });
      if (!probe.path.starts_with('/') || odd) path->refuse("must begin with '/' and hold no spaces");
    }
    ++kinds;
  }
  if (const auto tcp = reader.find("tcp")) {
    tcp->expect_members({"port"});
    probe.kind = Probe::Kind::kTcp;
    probe.port = static_cast<std::uint16_t>(tcp->at("port").number(1, 65535));
    ++kinds;
  }
  if (const auto exec = reader.find("exec")) {
    exec->expect_members({"command"});
    probe.kind = Probe::Kind::kExec;
    probe.command = read_command(exec->at("command"));
    ++kinds;
  }
  if (kinds != 1) reader.refuse("needs exactly one of http, tcp, exec");
  if (const auto value = reader.find("intervalSecs")) probe.interval = value->seconds(0, 86400);
  if (const auto value = reader.find("timeoutSecs")) probe.timeout = value->seconds(0, 3600);
  if (const auto value = reader.find("failureThreshold"))
    probe.failure_threshold = static_cast<std::uint32_t>(value->number(1, 1000));
  if (const auto value = reader.find("successThreshold"))
    probe.success_threshold = static_cast<std::uint32_t>(value->number(1, 1000));
  // A probe without a pause would be a busy loop on the device.
  probe.interval = std::max<Duration>(probe.interval, std::chrono::milliseconds(100));
  probe.timeout = std::max<Duration>(probe.timeout, std::chrono::milliseconds(50));
  return probe;
}

void read_restart(const Reader& reader, statemachines::RestartSettings& restart) {
  reader.expect_members({"backoffFirstSecs", "backoffCapSecs", "stableAfterSecs", "maxTries", "slowProbeSecs",
                         "afterTries", "unhealthyGraceSecs"});
  const auto floor = [](Duration value) { return std::max<Duration>(value, std::chrono::milliseconds(100)); };
  if (const auto v = reader.find("backoffFirstSecs")) restart.backoff_first = floor(v->seconds(0, 86400));
  if (const auto v = reader.find("backoffCapSecs")) restart.backoff_cap = floor(v->seconds(0, 86400));
  if (const auto v = reader.find("stableAfterSecs")) restart.stable_after = v->seconds(0, 864000);
  if (const auto v = reader.find("maxTries"))
    restart.max_tries = static_cast<std::uint32_t>(v->number(0, 1000000));
  if (const auto v = reader.find("slowProbeSecs")) restart.slow_probe_every = floor(v->seconds(1, 864000));
  if (const auto v = reader.find("unhealthyGraceSecs")) restart.unhealthy_stop_grace = v->seconds(0, 86400);
  if (const auto v = reader.find("afterTries")) {
    restart.after_tries = v->choice({"slowProbe", "giveUp"}) == 0
                              ? statemachines::RestartSettings::AfterTries::kSlowProbe
                              : statemachines::RestartSettings::AfterTries::kGiveUp;
  }
  if (restart.backoff_cap < restart.backoff_first) reader.refuse("backoffCapSecs is below backoffFirstSecs");
}

void read_env(const Reader& reader, std::map<std::string, std::string>& env) {
  for (const auto& member : reader.object()) {
    const std::string name(member.key());
    const Reader entry(member.value(), member_path(reader.path(), name));
    if (name.starts_with('$')) continue;
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos) {
      entry.refuse("not a name for an environment variable");
    }
    entry.expect_members({"value"});
    const auto value = entry.find("value");
    env[name] = !value ? "" : value->value().is_string() ? value->text() : json::serialize(value->value());
  }
}

// Everything a change of which needs a new container or process. Policy, order, probes, version and status do
// not.
std::string hash_of_spec(const DesiredModule& module) {
  json::object spec;
  spec["kind"] = static_cast<int>(module.kind);
  spec["image"] = module.image;
  spec["digest"] = module.digest;
  spec["createOptions"] = module.create_options;
  spec["command"] = json::array(module.command.begin(), module.command.end());
  spec["workingDirectory"] = module.working_directory;
  spec["user"] = module.user;
  spec["memory"] = module.memory_limit_bytes;
  json::object env;
  for (const auto& [name, value] : module.env) env[name] = value;
  spec["env"] = env;
  return json::serialize(spec);
}

// Of the image, or of the program.
void read_digest(const Reader& settings, DesiredModule& module) {
  const auto digest = settings.find("digest");
  if (!digest) return;
  module.digest = digest->text();
  const bool fits =
      module.digest.empty() || (module.digest.size() == 71 && module.digest.starts_with("sha256:") &&
                                module.digest.find_first_not_of("0123456789abcdef", 7) == std::string::npos);
  if (!fits) digest->refuse("must be sha256: and 64 hex digits");
}

void read_docker_settings(const Reader& settings, DesiredModule& module) {
  const auto image = settings.at("image");
  auto normal = normalise_image(image.non_blank_text());
  if (!normal) image.refuse(normal.error().message);
  module.image = *normal;
  module.create_options = join_create_options(settings);
}

void read_process_settings(const Reader& settings, DesiredModule& module) {
  // The hub is part of this program: its command may be left out.
  if (module.name.value != "edgeHub" || settings.find("command"))
    module.command = read_command(settings.at("command"));
  if (const auto v = settings.find("workingDirectory")) module.working_directory = v->text();
  if (const auto v = settings.find("user")) module.user = v->text();
  if (const auto v = settings.find("memoryLimitBytes"))
    module.memory_limit_bytes = v->number(0, std::uint64_t(1) << 50);
}

DesiredModule read_module(const Reader& reader, const std::string& name, bool system, Reading reading) {
  DesiredModule module;
  module.name = ModuleName(name);
  module.system = system;
  if (!valid_module_name(name))
    reader.refuse("not a module name: 1 to 63 of A-Z a-z 0-9 _ . - beginning with a letter or digit");
  reader.expect_members({"type", "status", "restartPolicy", "imagePullPolicy", "startupOrder", "version",
                         "env", "settings", "configuration", "probes", "restart", "stopTimeoutSecs"});
  module.kind =
      reader.at("type").choice({"docker", "process"}) == 0 ? RuntimeKind::kDocker : RuntimeKind::kProcess;
  if (const auto v = reader.find("status"))
    module.status = v->choice({"running", "stopped"}) == 0 ? ModuleTarget::kRunning : ModuleTarget::kStopped;
  module.policy = system ? RestartPolicy::kAlways : RestartPolicy::kOnUnhealthy;
  if (const auto v = reader.find("restartPolicy")) {
    module.policy =
        static_cast<RestartPolicy>(1 + v->choice({"never", "on-failure", "on-unhealthy", "always"}));
  }
  if (const auto v = reader.find("imagePullPolicy"))
    module.pull_policy = static_cast<PullPolicy>(1 + v->choice({"on-create", "never"}));
  module.startup_order = system && name == "edgeHub" ? 0 : 4294967295u;
  if (const auto v = reader.find("startupOrder"))
    module.startup_order = static_cast<std::uint32_t>(v->number(0, 4294967295u));
  if (const auto v = reader.find("version")) module.version = v->text();
  if (const auto v = reader.find("env")) read_env(*v, module.env);
  if (const auto v = reader.find("stopTimeoutSecs")) module.stop_timeout = v->seconds(0, 3600);
  if (const auto v = reader.find("restart")) read_restart(*v, module.restart);
  if (const auto probes = reader.find("probes")) {
    probes->expect_members({"startup", "liveness"});
    if (const auto v = probes->find("startup")) module.startup = read_probe(*v);
    if (const auto v = probes->find("liveness")) module.liveness = read_probe(*v);
  }
  static const json::value kEmpty = json::object();
  const auto given = reader.find("settings");
  const bool may_lack = module.kind == RuntimeKind::kProcess && name == "edgeHub";
  const Reader settings =
      given || !may_lack ? reader.at("settings") : Reader(kEmpty, member_path(reader.path(), "settings"));
  check_settings_members(settings, module.kind, reading);
  read_digest(settings, module);
  module.kind == RuntimeKind::kDocker ? read_docker_settings(settings, module)
                                      : read_process_settings(settings, module);
  module.has_probe =
      module.startup || module.liveness || module.create_options.find("\"Healthcheck\"") != std::string::npos;
  const auto digest = sha256(hash_of_spec(module));
  module.spec_hash = hex(digest);
  for (int i = 0; i < 8; ++i) module.spec = module.spec << 8 | digest[i];
  if (module.spec == 0) module.spec = 1;
  return module;
}

void read_modules(const Reader& reader, bool system, Reading reading, Deployment& into) {
  for (const auto& member : reader.object()) {
    const std::string name(member.key());
    if (name.starts_with('$') || member.value().is_null()) continue;
    const Reader module(member.value(), member_path(reader.path(), name));
    if (system && name == "edgeAgent") {
      module.object();  // describes this program itself: reported, not supervised
      continue;
    }
    if (system && name != "edgeHub") module.refuse("systemModules holds edgeAgent and edgeHub only");
    if (!system && (name == "edgeAgent" || name == "edgeHub")) module.refuse("belongs in systemModules");
    if (into.modules.size() >= kMaxModules) module.refuse("more than 500 modules");
    into.modules.emplace(ModuleName(name), read_module(module, name, system, reading));
  }
}

void check_schema_version(const Reader& root, Deployment& into) {
  into.schema_version = root.at("schemaVersion").text();
  const auto& text = into.schema_version;
  const bool known =
      text == "1" || text == "1.0" || text == "1.1" || text.starts_with("1.0.") || text.starts_with("1.1.");
  if (!known)
    root.at("schemaVersion")
        .refuse("version '" + printable(text, 32) + "' is not supported (1.0 and 1.1 are)",
                Errc::kUnsupported);
}

void read_runtime(const Reader& root, Deployment& into) {
  const auto section = root.find("runtime");
  if (!section) return;
  section->expect_members({"type", "settings", "platform"});
  section->at("type").choice({"docker", "process"});
  const auto settings = section->find("settings");
  if (!settings) return;
  settings->expect_members({"minDockerVersion", "loggingOptions", "registryCredentials"});
  const auto logins = settings->find("registryCredentials");
  if (!logins) return;
  for (const auto& member : logins->object()) {
    const Reader login(member.value(), member_path(logins->path(), std::string(member.key())));
    login.expect_members({"address", "username", "password"});
    into.registries.push_back({std::string(member.key()), login.at("address").non_blank_text(),
                               login.at("username").non_blank_text(), login.at("password").non_blank_text()});
  }
}

void read_rollback(const Reader& root, Deployment& into) {
  const auto section = root.find("rollback");
  if (!section) return;
  section->expect_members({"onFailure", "minHealthySecs", "deadlineSecs"});
  if (const auto v = section->find("onFailure")) into.rollback_on_failure = v->boolean();
  if (const auto v = section->find("minHealthySecs")) into.min_healthy = v->seconds(0, 86400);
  if (const auto v = section->find("deadlineSecs")) into.deadline = v->seconds(0, 604800);
  if (into.rollback_on_failure && into.deadline == Duration::zero()) into.deadline = std::chrono::minutes(5);
}

Deployment read_deployment(const Reader& root, Reading reading) {
  Deployment deployment;
  if (root.object().empty()) root.refuse("the document is empty", Errc::kNotFound);
  check_schema_version(root, deployment);
  root.expect_members({"schemaVersion", "runtime", "systemModules", "modules", "integrity", "rollback"});
  read_runtime(root, deployment);
  read_rollback(root, deployment);
  if (const auto v = root.find("systemModules")) read_modules(*v, true, reading, deployment);
  if (const auto v = root.find("modules")) read_modules(*v, false, reading, deployment);
  return deployment;
}

// An IoT Edge deployment manifest wraps the document: {"modulesContent": {"$edgeAgent":
// {"properties.desired": {...}}}}.
Reader unwrap_manifest(Reader root) {
  if (root.value().is_object()) {
    if (const auto content = root.find("content")) root = *content;
    if (const auto content = root.find("modulesContent"))
      return content->at("$edgeAgent").at("properties.desired");
  }
  return root;
}

Result<Deployment> parse(std::string_view document, Reading reading) {
  if (document.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return error(Errc::kNotFound, "the document is empty", "$");
  if (document.size() > kMaxDocumentBytes)
    return error(Errc::kMalformed, "the document is larger than 1 MiB", "$");
  const auto value = parse_strict_json(document, kMaxDocumentDepth);
  if (!value) return error(value.error().code, value.error().message, "$");
  try {
    return read_deployment(unwrap_manifest(Reader(*value, "$")), reading);
  } catch (Refusal& refusal) {
    return std::move(refusal.error);
  }
}

}  // namespace

Result<Deployment> parse_deployment(std::string_view document) {
  return parse(document, Reading::kNew);
}

Result<Deployment> parse_stored_deployment(std::string_view document) {
  return parse(document, Reading::kStored);
}

int desired_status_code(const Error& error) {
  switch (error.code) {
    case Errc::kUnsupported:
      return 412;
    case Errc::kNotFound:
      return 417;
    default:
      return 400;
  }
}

bool valid_module_name(std::string_view name) {
  if (name.empty() || name.size() > 63 || !std::isalnum(static_cast<unsigned char>(name.front())))
    return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; });
}

}  // namespace decklog::agent
