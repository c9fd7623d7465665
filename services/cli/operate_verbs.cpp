// Verbs that talk to the running agent over its management socket.
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>

#include "services/cli/cli.hpp"
#include "services/cli/json_parts.hpp"
#include "services/http/client.hpp"
#include "services/uplink/names.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, const char* name) {
  const auto* found = object.if_contains(name);
  if (!found) return "";
  return found->is_string() ? std::string(found->get_string()) : json::serialize(*found);
}

// A JSON answer, or the error it carries.
Result<json::object> ask(const Session& session, http::ClientRequest request,
                         const http::ClientLimits& limits = {}) {
  const auto socket = session.agent_socket();
  if (!socket) return socket.error();
  auto answer = http::request({.unix_path = *socket}, request, limits);
  if (!answer)
    return error(answer.error().code, answer.error().message + " (is the agent running?)", *socket);
  json::error_code code;
  const auto body = json::parse(answer->body, code);
  if (answer->status >= 400) {
    const std::string message =
        !code && body.is_object() ? text_of(body.get_object(), "message") : answer->body.substr(0, 300);
    return error(answer->status == 404   ? Errc::kNotFound
                 : answer->status == 400 ? Errc::kMalformed
                 : answer->status == 413 ? Errc::kTooLarge
                                         : Errc::kInternal,
                 message);
  }
  if (code || !body.is_object()) return error(Errc::kInternal, "the agent's answer is not JSON");
  return body.get_object();
}

void print_plan(const json::object& answer) {
  const auto* plan = answer.if_contains("plan");
  if (!plan || !plan->is_array()) return;
  if (plan->get_array().empty()) std::puts("nothing to change");
  for (const auto& line : plan->get_array()) std::printf("  %s\n", line.get_string().c_str());
}

int complain_of_document(const Error& error) {
  const int status = complain(error);
  return error.code == Errc::kMalformed || error.code == Errc::kTooLarge ? kRefused : status;
}

int apply_document(const Session& session, const std::string& file) {
  auto document = read_text(file);
  if (!document) return complain(document.error());
  auto answer = ask(session, {.method = "POST", .target = "/v1/desired", .body = *document});
  if (!answer) return complain_of_document(answer.error());
  const auto code = answer->at("code").to_number<int>();
  if (session.json) print(*answer);
  if (code != 200) {
    if (!session.json)
      std::fprintf(stderr, "decklog: refused (%d): %s\nthe deployment before goes on running\n", code,
                   text_of(*answer, "message").c_str());
    return kRefused;
  }
  if (!session.json) {
    std::printf("accepted as version %s, %s\n", text_of(*answer, "version").c_str(),
                text_of(*answer, "state").c_str());
    print_plan(*answer);
  }
  return kDone;
}

int plan(const Session& session, const std::string& file) {
  auto document = read_text(file);
  if (!document) return complain(document.error());
  auto answer = ask(session, {.method = "POST", .target = "/v1/plan", .body = *document});
  if (!answer) return complain_of_document(answer.error());
  if (session.json)
    print(*answer);
  else
    print_plan(*answer);
  return kDone;
}

int list(const Session& session) {
  auto answer = ask(session, {.target = "/v1/modules"});
  if (!answer) return complain(answer.error());
  if (session.json) {
    print(*answer);
    return kDone;
  }
  Table table({"NAME", "STATE", "DESIRED", "RESTARTS", "SINCE", "DESCRIPTION", "IMAGE"});
  for (const auto& item : answer->at("modules").as_array()) {
    const auto& module = item.as_object();
    table.add({text_of(module, "name"), state_text(session, text_of(module, "state")),
               text_of(module, "desired"), text_of(module, "restarts"),
               text_of(module, "startedAt").substr(0, 19), text_of(module, "description"),
               text_of(module, "image")});
  }
  table.print(session);
  const auto& deployment = answer->at("deployment").as_object();
  std::printf("deployment version %s %s, uplink %s\n", text_of(deployment, "version").c_str(),
              state_text(session, text_of(deployment, "state")).c_str(),
              state_text(session, text_of(*answer, "uplink")).c_str());
  return kDone;
}

int status(const Session& session) {
  auto answer = ask(session, {.target = "/v1/status"});
  if (!answer) return complain(answer.error());
  if (session.json) {
    print(*answer);
    return kDone;
  }
  const auto& deployment = answer->at("deployment").as_object();
  std::printf("device      %s\nversion     %s\nboot        %s\nsequence    %s\n",
              text_of(*answer, "device").c_str(), text_of(*answer, "version").c_str(),
              text_of(*answer, "bootId").c_str(), text_of(*answer, "sequence").c_str());
  std::printf("deployment  version %s, %s; last document: version %s, code %s %s\n",
              text_of(deployment, "version").c_str(), text_of(deployment, "state").c_str(),
              text_of(deployment, "lastVersion").c_str(), text_of(deployment, "lastCode").c_str(),
              text_of(deployment, "lastMessage").c_str());
  std::printf("uplink      %s, reported up to event %s\n", text_of(*answer, "uplink").c_str(),
              text_of(*answer, "reportedThrough").c_str());
  for (const auto& problem : answer->at("recoveryProblems").as_array())
    std::printf("log         %s\n", problem.get_string().c_str());
  return kDone;
}

int command(const Session& session, const std::string& verb, const std::string& module) {
  auto answer = ask(
      session, {.method = "POST", .target = "/v1/modules/" + uplink::percent_encode(module) + "/" + verb});
  if (!answer) return complain(answer.error());
  if (session.json)
    print(*answer);
  else
    std::printf("%s of %s is on its way; follow it with: decklog history %s\n", verb.c_str(), module.c_str(),
                module.c_str());
  return kDone;
}

struct LogArguments {
  std::string module, since, until;
  std::uint64_t tail = 0;
  bool follow = false, times = false;
};

int logs(const Session& session, const LogArguments& arguments) {
  std::string target = "/v1/modules/" + uplink::percent_encode(arguments.module) +
                       "/logs?follow=" + (arguments.follow ? "true" : "false");
  if (arguments.tail != 0) target += "&tail=" + std::to_string(arguments.tail);
  if (!arguments.since.empty()) target += "&since=" + uplink::percent_encode(arguments.since);
  if (!arguments.until.empty()) target += "&until=" + uplink::percent_encode(arguments.until);
  const auto on_line = [&](std::string_view line) {
    if (session.json) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
      std::fflush(stdout);
      return true;
    }
    json::error_code code;
    const auto value = json::parse(line, code);
    if (code || !value.is_object()) return true;
    const auto& object = value.get_object();
    const std::string prefix = arguments.times ? text_of(object, "time") + " " : "";
    std::printf("%s%s\n", prefix.c_str(), text_of(object, "text").c_str());
    std::fflush(stdout);
    return std::ferror(stdout) == 0;
  };
  const auto socket = session.agent_socket();
  if (!socket) return complain(socket.error());
  const auto answer = http::stream_lines({.unix_path = *socket}, {.target = target}, on_line);
  if (!answer) return complain(answer.error());
  if (answer->status >= 400) {
    json::error_code code;
    const auto body = json::parse(answer->body, code);
    return complain(error(answer->status == 404 ? Errc::kNotFound : Errc::kMalformed,
                          code || !body.is_object() ? answer->body : text_of(body.get_object(), "message")));
  }
  return kDone;
}

void add_command(CLI::App& app, Session& session, const char* verb, const char* about) {
  auto module = std::make_shared<std::string>();
  auto* sub = app.add_subcommand(verb, about);
  sub->add_option("MODULE", *module, "name of the module")->required();
  sub->footer("Example:\n  decklog " + std::string(verb) + " sensor");
  sub->callback([&session, verb, module] {
    session.action = [&session, verb, module] { return command(session, verb, *module); };
  });
}

}  // namespace

void add_operate_verbs(CLI::App& app, Session& session) {
  auto file = std::make_shared<std::string>();
  auto* verb = app.add_subcommand(
      "apply", "Give the device a deployment (desired properties, or an IoT Edge deployment manifest)");
  verb->add_option("FILE", *file, "JSON document; - reads standard input")->required();
  verb->footer("Example:\n  decklog apply examples/three-modules.json");
  verb->callback(
      [&session, file] { session.action = [&session, file] { return apply_document(session, *file); }; });

  verb = app.add_subcommand("plan", "Say what a deployment would change, and why; changes nothing");
  verb->add_option("FILE", *file, "JSON document; - reads standard input")->required();
  verb->footer("Example:\n  decklog plan examples/three-modules.json");
  verb->callback([&session, file] { session.action = [&session, file] { return plan(session, *file); }; });

  verb = app.add_subcommand("list", "Modules: what is wanted, what is, and since when");
  verb->footer("Examples:\n  decklog list\n  decklog list --json");
  verb->callback([&session] { session.action = [&session] { return list(session); }; });

  verb = app.add_subcommand("status", "The device at a glance");
  verb->footer("Example:\n  decklog status");
  verb->callback([&session] { session.action = [&session] { return status(session); }; });

  add_command(app, session, "restart", "Restart a module now; resets its back-off");
  add_command(app, session, "stop", "Stop a module and hold it until it is started again");
  add_command(app, session, "start", "Start a module that was stopped by hand, or skip its back-off");

  auto arguments = std::make_shared<LogArguments>();
  verb = app.add_subcommand("logs", "What a module printed");
  verb->add_option("MODULE", arguments->module, "name of the module")->required();
  verb->add_flag("-f,--follow", arguments->follow, "go on printing as it prints");
  verb->add_option("--tail", arguments->tail, "only the last N lines");
  verb->add_option("--since", arguments->since, "RFC 3339 time");
  verb->add_option("--until", arguments->until, "RFC 3339 time");
  verb->add_flag("-t,--timestamps", arguments->times, "print the time of each line");
  verb->footer("Example:\n  decklog logs -f --tail 20 sensor");
  verb->callback([&session, arguments] {
    session.action = [&session, arguments] { return logs(session, *arguments); };
  });
}

}  // namespace decklog::cli
