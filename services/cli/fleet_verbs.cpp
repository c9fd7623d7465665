// The fleet's side of the uplink, for operators, demos and tests.
#include <cstdio>

#include "events/utf8.hpp"
#include "services/cli/cli.hpp"
#include "services/cli/fleet_access.hpp"
#include "services/cli/json_parts.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

struct FleetArguments {
  std::string device, module = "$edgeAgent", put, method, payload = "null";
  std::vector<std::string> properties;
  int replicas = 1;
  double timeout_secs = 30, idle_secs = 0;
  bool from_start = false, remove = false;
};

using Run = int (*)(const Session&, fleet::Fleet&, const FleetArguments&);

int with_fleet(const Session& session, FleetArguments arguments, Run run) {
  const auto config = session.config();
  if (!config) return complain(config.error()), kUsage;
  if (arguments.device.empty()) arguments.device = config->device;
  auto opened = open_fleet(*config);
  if (!opened) return complain(opened.error());
  return run(session, **opened, arguments);
}

int init(const Session& session, fleet::Fleet& fleet, const FleetArguments& arguments) {
  fleet::InitOptions options;
  options.replicas = arguments.replicas;
  const auto steps = fleet.init(options);
  if (!steps) return complain(steps.error());
  json::object made;
  for (const auto& step : *steps) {
    const char* outcome = step.outcome == fleet::InitStep::Outcome::kCreated   ? "created"
                          : step.outcome == fleet::InitStep::Outcome::kExisted ? "was there"
                                                                               : "replicas changed";
    if (session.json)
      made[step.name] = outcome;
    else
      std::printf("%-24s %s\n", step.name.c_str(), outcome);
  }
  if (session.json) print(made);
  return kDone;
}

int desired(const Session& session, fleet::Fleet& fleet, const FleetArguments& arguments) {
  const uplink::TwinKey key{arguments.device, arguments.module};
  if (arguments.remove) {
    const auto done = fleet.remove_desired(key);
    return done ? kDone : complain(done.error());
  }
  if (arguments.put.empty()) {
    const auto value = fleet.get_desired(key);
    if (!value) return complain(value.error());
    if (value->revision == 0)
      return complain(error(Errc::kNotFound, "no desired document", key.device + "/" + key.module));
    std::puts(value->json.c_str());
    return kDone;
  }
  const auto text = read_text(arguments.put);
  if (!text) return complain(text.error());
  const auto revision = fleet.put_desired(key, *text, std::nullopt);
  if (!revision) return complain(revision.error());
  if (session.json) {
    print(json::object{{"device", key.device}, {"module", key.module}, {"revision", *revision}});
    return kDone;
  }
  std::printf("desired of %s/%s is revision %llu\n", key.device.c_str(), key.module.c_str(),
              static_cast<unsigned long long>(*revision));
  return kDone;
}

int reported(const Session&, fleet::Fleet& fleet, const FleetArguments& arguments) {
  const auto value = fleet.get_reported({arguments.device, arguments.module});
  if (!value) return complain(value.error());
  if (value->revision == 0)
    return complain(error(Errc::kNotFound, "nothing reported", arguments.device + "/" + arguments.module));
  std::puts(value->json.c_str());
  return kDone;
}

int call(const Session&, fleet::Fleet& fleet, const FleetArguments& arguments) {
  const Duration timeout(static_cast<std::int64_t>(arguments.timeout_secs * 1e9));
  const auto answer =
      fleet.call({arguments.device, arguments.module}, arguments.method, arguments.payload, timeout);
  if (!answer) return complain(answer.error());
  std::printf("{\"status\":%d,\"payload\":%s}\n", answer->status,
              answer->payload.empty() ? "null" : answer->payload.c_str());
  return kDone;
}

int send(const Session&, fleet::Fleet& fleet, const FleetArguments& arguments) {
  uplink::CloudMessage message;
  message.device = arguments.device;
  message.body = arguments.payload;
  for (const auto& property : arguments.properties) {
    const auto equal = property.find('=');
    message.properties.emplace_back(property.substr(0, equal),
                                    equal == std::string::npos ? "" : property.substr(equal + 1));
  }
  const auto done = fleet.send(message);
  return done ? kDone : complain(done.error());
}

// A body need not be JSON, nor text.
json::object telemetry_object(const fleet::TelemetryRecord& record) {
  json::error_code failed;
  json::value body = json::parse(record.body, failed);
  if (failed) body = json::string(well_formed(record.body));
  return {{"id", record.id},         {"enqueued", record.enqueued}, {"device", record.device},
          {"module", record.module}, {"output", record.output},     {"body", std::move(body)}};
}

int telemetry(const Session& session, fleet::Fleet& fleet, const FleetArguments& arguments) {
  fleet::TailOptions options;
  options.device = arguments.device;
  options.from = arguments.from_start ? fleet::TailOptions::From::kStart : fleet::TailOptions::From::kNow;
  options.idle_max = Duration(static_cast<std::int64_t>(arguments.idle_secs * 1e9));
  const auto done = fleet.tail_telemetry(options, [&](const fleet::TelemetryRecord& record) {
    if (session.json)
      print(telemetry_object(record));
    else
      std::printf("%s %s/%s %s: %s\n", record.enqueued.c_str(), record.device.c_str(), record.module.c_str(),
                  record.output.c_str(), record.body.c_str());
    std::fflush(stdout);
    return std::ferror(stdout) ? fleet::Tail::kStop : fleet::Tail::kGoOn;
  });
  return done ? kDone : complain(done.error());
}

CLI::App* add(CLI::App& fleet, Session& session, const std::shared_ptr<FleetArguments>& arguments,
              const char* verb, const char* about, Run run) {
  auto* sub = fleet.add_subcommand(verb, about);
  sub->add_option("--device", arguments->device, "device; default: the configuration's");
  sub->callback([&session, arguments, run] {
    session.action = [&session, arguments, run] { return with_fleet(session, *arguments, run); };
  });
  return sub;
}

}  // namespace

void add_fleet_verbs(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<FleetArguments>();
  auto* fleet = app.add_subcommand(
      "fleet", "The fleet's side: streams, desired and reported documents, identities, methods, messages");
  fleet->require_subcommand(1);
  fleet->footer("Examples:\n  decklog fleet init\n  decklog fleet desired --put examples/three-modules.json");
  auto* verb = add(*fleet, session, arguments, "init", "Make the streams and buckets of the backbone", init);
  verb->add_option("--replicas", arguments->replicas, "1, or 3 on a cluster")->check(CLI::Range(1, 5));
  verb->footer("Example:\n  decklog fleet init --replicas 3");
  verb = add(*fleet, session, arguments, "desired", "Print, put or remove a desired document", desired);
  verb->add_option("--module", arguments->module, "$edgeAgent, $edgeHub or a module");
  verb->add_option("--put", arguments->put, "file to put; - reads standard input");
  verb->add_flag("--remove", arguments->remove, "remove it");
  verb->footer(
      "Examples:\n  decklog fleet desired --put examples/three-modules.json\n"
      "  decklog fleet desired --module '$edgeHub' --put examples/hub-routes.json");
  verb = add(*fleet, session, arguments, "reported", "Print a reported document", reported);
  verb->add_option("--module", arguments->module, "$edgeAgent, $edgeHub or a module");
  verb->footer("Example:\n  decklog fleet reported --module '$edgeHub'");
  add_identity_verb(*fleet, session);
  verb = add(*fleet, session, arguments, "call", "Call a direct method", call);
  verb->add_option("METHOD", arguments->method, "name")->required();
  verb->add_option("PAYLOAD", arguments->payload, "JSON");
  verb->add_option("--module", arguments->module, "$edgeAgent or a module");
  verb->add_option("--timeout", arguments->timeout_secs, "seconds");
  verb->footer(
      "Example:\n  decklog fleet call RestartModule '{\"schemaVersion\":\"1.0\",\"id\":\"sensor\"}'");
  verb = add(*fleet, session, arguments, "send", "Send a cloud-to-device message", send);
  verb->add_option("BODY", arguments->payload, "text")->required();
  verb->add_option("--property", arguments->properties, "name=value");
  verb->footer("Example:\n  decklog fleet send 'open the valve' --property urgent=yes");
  verb = add(*fleet, session, arguments, "telemetry", "Print telemetry as it arrives", telemetry);
  verb->add_flag("--from-start", arguments->from_start, "begin with the oldest kept");
  verb->add_option("--idle", arguments->idle_secs, "end after so many seconds without a message");
  verb->footer("Example:\n  decklog fleet telemetry --from-start --idle 5");
}

}  // namespace decklog::cli
