#include "services/agent/report.hpp"

#include <openssl/evp.h>

#include <array>
#include <boost/json.hpp>

#include "events/utf8.hpp"

namespace decklog::agent {
namespace {

namespace json = boost::json;
namespace sm = statemachines;

constexpr std::size_t kChunk = 512;  // twin strings were limited to 512 characters; readers expect that split

std::string digest_of(const std::string& text) {
  std::array<unsigned char, 32> bytes{};
  unsigned size = 0;
  DECKLOG_ASSERT(EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (const auto byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

void put_time(json::object& out, const char* name, std::int64_t wall_ns) {
  if (wall_ns != 0) out[name] = to_rfc3339({wall_ns});
}

void put_chunked(json::object& settings, const std::string& options) {
  std::string_view rest = options;
  for (std::size_t chunk = 0; !rest.empty() && chunk < 100; ++chunk) {
    char name[40] = "createOptions";
    if (chunk > 0) std::snprintf(name, sizeof name, "createOptions%02zu", chunk);
    // Each part is a text of its own: a character stays in one of them.
    const auto part = beginning_of(rest, kChunk);
    settings[name] = part;
    rest.remove_prefix(part.size());
  }
}

json::object settings_json(const DesiredModule& desired, const ModuleRecord* module) {
  json::object settings;
  if (desired.kind == runtime::RuntimeKind::kDocker) {
    settings["image"] = desired.image;
    if (module && !module->observed.image_id.empty()) settings["imageHash"] = module->observed.image_id;
    if (!desired.digest.empty()) settings["digest"] = desired.digest;
    put_chunked(settings, desired.create_options);
  } else {
    settings["command"] = json::array(desired.command.begin(), desired.command.end());
  }
  return settings;
}

json::object module_json(const DesiredModule& desired, const ModuleRecord* module) {
  json::object out;
  out["type"] = desired.kind == runtime::RuntimeKind::kDocker ? "docker" : "process";
  out["status"] = name_of(desired.status);
  out["restartPolicy"] = name_of(desired.policy);
  out["imagePullPolicy"] = desired.pull_policy == runtime::PullPolicy::kNever ? "never" : "on-create";
  out["startupOrder"] = desired.startup_order;
  if (!desired.system) out["version"] = desired.version;
  out["settings"] = settings_json(desired, module);
  json::object env;
  for (const auto& [name, value] : desired.env) env[name] = json::object{{"value", value}};
  out["env"] = env;
  if (!module) {
    out["runtimeStatus"] = "unknown";
    return out;
  }
  out["runtimeStatus"] = sm::to_runtime_status(module->life.state);
  out["statusDescription"] = module_description(*module, &desired);
  out["exitCode"] = module->life.exit_code;
  out["restartCount"] = module->life.restart_count;
  out["specCurrent"] = module->life.current_spec == desired.spec || !module->life.exists;
  put_time(out, "lastStartTimeUtc", module->observed.started_at_ns);
  put_time(out, "lastExitTimeUtc", module->last_exit.ns);
  put_time(out, "lastRestartTimeUtc", module->last_restart.ns);
  return out;
}

json::object runtime_json(const Document* document, const ReportContext& context,
                          const std::string& version) {
  json::object out;
  bool docker = false;
  if (document) {
    for (const auto& [name, module] : document->deployment.modules)
      docker |= module.kind == runtime::RuntimeKind::kDocker;
  }
  out["type"] = docker ? "docker" : "process";
  out["platform"] =
      json::object{{"os", "linux"}, {"architecture", context.architecture}, {"version", version}};
  return out;
}

json::object agent_json(const AgentState& state, const ReportContext& context) {
  return json::object{{"type", "process"},
                      {"runtimeStatus", state.clean_shutdown ? "unknown" : "running"},
                      {"statusDescription", "decklog " + state.version},
                      {"settings", json::object{{"build", context.build}}}};
}

json::object deployment_json(const DeploymentLife& life) {
  json::object out{{"state", name_of(life.state)}, {"version", life.version}};
  if (life.good_version != 0) out["goodVersion"] = life.good_version;
  return out;
}

}  // namespace

std::string module_description(const ModuleRecord& module, const DesiredModule* desired) {
  const ModuleLife& life = module.life;
  std::string text = name_of(life.state);
  const auto add = [&](const std::string& part) { text += "; " + part; };
  if (life.state == ModuleState::kDownloading && module.pull.bytes_total > 0) {
    add(std::to_string(module.pull.bytes_done * 100 / module.pull.bytes_total) + "% of " +
        std::to_string(module.pull.bytes_total) + " bytes");
  }
  const bool ended = life.state == ModuleState::kStopped || life.state == ModuleState::kBackingOff ||
                     life.state == ModuleState::kFailed;
  if (ended && life.last_end == EndCause::kSignal)
    add("ended by signal " + std::to_string(life.exit_signal));
  else if (ended && life.last_end == EndCause::kOutOfMemory)
    add("killed: out of memory");
  else if (ended && (life.last_end == EndCause::kError || life.last_end == EndCause::kClean))
    add("exit code " + std::to_string(life.exit_code));
  else if (ended && life.last_end != EndCause::kNone)
    add("last end: " + name_of(life.last_end));
  if (life.state == ModuleState::kBackingOff) {
    const auto tries = desired ? desired->restart.max_tries : 20u;
    const auto attempt = std::max(life.restart_count, life.work_failures) + 1;
    add("try " + std::to_string(attempt) + " of " + std::to_string(tries) + " at " +
        to_rfc3339(module.next_try) + " (step " + to_text(Duration(life.backoff_step_ns)) + ", drawn " +
        to_text(Duration(life.backoff_wait_ns)) + ")");
  }
  if (life.state == ModuleState::kFailed && life.deadline_mono_ns != 0)
    add("slow probe at " + to_rfc3339(module.next_try));
  if (life.gave_up) add("gave up as its settings ask");
  if (life.operator_hold) add("held by an operator");
  if (life.replacing) add("being replaced");
  if (!module.last_error.empty()) add(printable(module.last_error, 300));
  return text;
}

Report make_report(const AgentState& state, const ReportContext& context) {
  json::object out;
  const Document* document = state.in_force();
  out["schemaVersion"] = document ? document->deployment.schema_version : "1.1";
  out["version"] = json::object{{"version", state.version}, {"build", context.build}};
  out["lastDesiredVersion"] = state.deployment.last_version;
  const bool clean = state.clean_shutdown;
  out["lastDesiredStatus"] =
      json::object{{"code", clean ? 406 : state.deployment.last_code},
                   {"description", clean ? "agent is not running" : state.deployment.last_message}};
  out["runtime"] = runtime_json(document, context, state.version);
  out["deployment"] = deployment_json(state.deployment);
  json::object system{{"edgeAgent", agent_json(state, context)}}, modules;
  if (document) {
    for (const auto& [name, desired] : document->deployment.modules) {
      const auto found = state.modules.find(name);
      json::object entry = module_json(desired, found == state.modules.end() ? nullptr : &found->second);
      if (clean) entry["runtimeStatus"] = "unknown";
      (desired.system ? system : modules)[name.value] = std::move(entry);
    }
  }
  out["systemModules"] = std::move(system);
  out["modules"] = std::move(modules);
  Report report;
  report.digest = digest_of(json::serialize(out));
  report.through = state.through.value;
  json::object decklog{{"epoch", context.epoch},
                       {"sequence", report.through},
                       {"asOf", to_rfc3339(context.as_of)},
                       {"bootId", state.boot.value}};
  json::error_code code;
  if (!context.tree_head.empty()) decklog["treeHead"] = json::parse(context.tree_head, code);
  out["decklog"] = std::move(decklog);
  report.json = json::serialize(out);
  return report;
}

}  // namespace decklog::agent
