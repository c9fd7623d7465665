#include "services/agent/management.hpp"

#include <pwd.h>

#include <boost/json.hpp>
#include <charconv>

#include "events/utf8.hpp"
#include "services/http/server.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::agent {

namespace json = boost::json;

namespace {

Actor actor_of(const http::Request& request) {
  if (!request.peer.credentials) return Actor("unknown");
  const auto uid = request.peer.credentials->uid;
  std::string text = "uid:" + std::to_string(uid);
  passwd entry{}, *found = nullptr;
  char buffer[4096];
  if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
    text += " (" + std::string(found->pw_name) + ")";
  return Actor(text);
}

int http_status(Errc code) {
  switch (code) {
    case Errc::kNotFound:
      return 404;
    case Errc::kInvalidArgument:
    case Errc::kMalformed:
      return 400;
    case Errc::kConflict:
      return 409;
    case Errc::kTooLarge:
      return 413;
    case Errc::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

http::Response ok(const json::value& value) {
  return {200, "application/json", json::serialize(value)};
}
http::Response failed(const Error& error) {
  return http::json_error(http_status(error.code), describe(error));
}

json::array lines(const std::vector<std::string>& list) {
  json::array out;
  for (const auto& line : list) out.emplace_back(line);
  return out;
}

Result<std::optional<WallTime>> time_parameter(const http::Request& request, std::string_view name) {
  const auto text = request.parameter(name);
  if (text.empty()) return std::optional<WallTime>();
  auto time = parse_rfc3339(text);
  if (!time) return time.error();
  return std::optional<WallTime>(*time);
}

}  // namespace

Management::Management(boost::asio::any_io_executor executor, Agent& agent)
    : executor_(executor), agent_(agent) {
  http::ServerLimits limits;
  limits.body_bytes =
      16 * 1024 * 1024;  // a document that is too large is refused by name, not by the transport
  server_ = std::make_unique<http::Server>(executor, limits,
                                           [this](http::Request request, http::Responder responder) {
                                             handle(std::move(request), std::move(responder));
                                           });
}

Management::~Management() = default;

Status Management::listen(const std::string& socket_path) {
  return server_->listen_unix(socket_path, {.mode = 0600});
}

void Management::handle(http::Request request, http::Responder responder) {
  const auto& path = request.segments;
  const bool get = request.method == "GET", post = request.method == "POST";
  if (path.size() >= 2 && path[0] == "v1") {
    if (path.size() == 2 && get && path[1] == "status") return status(responder);
    if (path.size() == 2 && get && path[1] == "modules") return list(responder);
    if (path.size() == 2 && post && path[1] == "desired") return apply(request, responder);
    if (path.size() == 2 && post && path[1] == "plan") return plan(request, responder);
    if (path.size() == 4 && path[1] == "modules" && get && path[3] == "logs") return logs(request, responder);
    if (path.size() == 4 && path[1] == "modules" && post) return command(request, responder);
  }
  responder.send(
      http::json_error(404, "no such resource: " + request.method + " " + request.target.substr(0, 200)));
}

void Management::status(const http::Responder& responder) const {
  const AgentState& state = agent_.state();
  json::object out;
  out["device"] = state.settings.device;
  out["version"] = state.version;
  out["bootId"] = state.boot.value;
  out["sequence"] = state.through.value;
  out["deployment"] = json::object{{"state", name_of(state.deployment.state)},
                                   {"version", state.deployment.version},
                                   {"lastVersion", state.deployment.last_version},
                                   {"lastCode", state.deployment.last_code},
                                   {"lastMessage", state.deployment.last_message}};
  out["uplink"] = name_of(state.uplink.state);
  out["reportedThrough"] = state.report.through;
  out["journalDegraded"] = agent_.loop().stats().degraded;
  json::array problems;
  for (const auto& problem : agent_.recovery().problems) problems.emplace_back(problem);
  out["recoveryProblems"] = std::move(problems);
  responder.send(ok(out));
}

void Management::list(const http::Responder& responder) const {
  const AgentState& state = agent_.state();
  json::array modules;
  for (const auto& [name, module] : state.modules) {
    const auto* desired = state.desired(name);
    json::object entry;
    entry["name"] = name.value;
    entry["type"] =
        module.runtime == static_cast<std::uint8_t>(runtime::RuntimeKind::kDocker) ? "docker" : "process";
    entry["state"] = name_of(module.life.state);
    entry["runtimeStatus"] = statemachines::to_runtime_status(module.life.state);
    entry["desired"] = desired ? name_of(desired->status) : "absent";
    entry["description"] = module_description(module, desired);
    entry["restarts"] = module.life.restart_count;
    entry["exitCode"] = module.life.exit_code;
    entry["startedAt"] =
        module.observed.started_at_ns != 0 ? to_rfc3339({module.observed.started_at_ns}) : "";
    entry["runtimeId"] = module.observed.runtime_id;
    entry["image"] = desired ? (module.runtime == 1        ? desired->image
                                : desired->command.empty() ? "(built in)"
                                                           : desired->command.front())
                             : "";
    entry["version"] = desired ? desired->version : "";
    modules.push_back(std::move(entry));
  }
  responder.send(ok(json::object{{"modules", std::move(modules)},
                                 {"deployment", json::object{{"state", name_of(state.deployment.state)},
                                                             {"version", state.deployment.version}}},
                                 {"uplink", name_of(state.uplink.state)}}));
}

void Management::apply(const http::Request& request, const http::Responder& responder) {
  auto lines_before = agent_.plan(request.body);
  agent_.receive_desired("operator", request.body, 0, actor_of(request),
                         [responder, plan = std::move(lines_before)](const Agent::Verdict& verdict) {
                           json::object out{{"code", verdict.code},
                                            {"message", verdict.message},
                                            {"version", verdict.version},
                                            {"state", verdict.state}};
                           if (plan) out["plan"] = lines(*plan);
                           responder.send(ok(out));
                         });
}

void Management::plan(const http::Request& request, const http::Responder& responder) const {
  const auto steps = agent_.plan(request.body);
  if (!steps) return responder.send(http::json_error(400, describe(steps.error())));  // refused, why ever
  responder.send(ok(json::object{{"plan", lines(*steps)}}));
}

void Management::command(const http::Request& request, const http::Responder& responder) {
  const std::string& verb = request.segments[3];
  if (verb != "restart" && verb != "stop" && verb != "start") {
    return responder.send(http::json_error(404, "no such command: " + verb.substr(0, 64)));
  }
  const std::string id =
      "request/" + std::to_string(agent_.state().through.value) + "-" + std::to_string(++requests_);
  agent_.command(verb, ModuleName(request.segments[2]), actor_of(request), id, [responder](Status done) {
    responder.send(done ? ok(json::object{{"accepted", true}}) : failed(done.error()));
  });
}

void Management::logs(const http::Request& request, const http::Responder& responder) {
  const ModuleName name(request.segments[2]);
  auto* runtime = agent_.modules().runtime_of(name);
  if (!runtime) return responder.send(http::json_error(404, "no such module: " + name.value.substr(0, 64)));
  runtime::LogOptions options;
  const auto since = time_parameter(request, "since"), until = time_parameter(request, "until");
  if (!since || !until) return responder.send(failed(since ? until.error() : since.error()));
  options.since = *since;
  options.until = *until;
  options.follow = request.parameter("follow") == "true";
  if (const auto text = request.parameter("tail"); !text.empty()) {
    std::uint64_t count = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (code != std::errc{} || end != text.data() + text.size())
      return responder.send(http::json_error(400, "tail: must be a number of lines"));
    options.tail = count;
  }
  auto stream = responder.stream(200, "application/x-ndjson");
  const auto sink = [stream](const runtime::LogLine& line) {
    const json::object out{{"time", to_rfc3339(line.time)},
                           {"stream", line.is_stderr ? "stderr" : "stdout"},
                           {"text", well_formed(line.text)}};
    return stream->write(json::serialize(out) + "\n").has_value();
  };
  auto handle = std::make_shared<runtime::Handle>();
  stream->on_closed([handle] { handle->reset(); });
  *handle = runtime->logs(name, options, sink, [stream, handle](Status) {
    stream->close();
    handle->reset();
  });
}

}  // namespace decklog::agent
