#include "services/fleet/stream_plan.hpp"

#include <boost/json.hpp>

#include "services/uplink/jetstream.hpp"
#include "services/uplink/names.hpp"

namespace decklog::fleet {
namespace {

namespace json = boost::json;
namespace jetstream = uplink::jetstream;

constexpr std::int64_t kDocumentBytesMax = 1024 * 1024;  // JetStream's own default limit of a message
constexpr int kTwinHistory = 5;                          // newest documents kept for a key

json::object stream(const char* name, const char* subject, const InitOptions& options) {
  return {{"name", name},
          {"subjects", json::array{subject}},
          {"storage", "file"},
          {"retention", "limits"},
          {"discard", "old"},
          {"max_consumers", -1},
          {"max_msgs", -1},
          {"max_msg_size", kDocumentBytesMax},
          {"num_replicas", options.replicas},
          {"duplicate_window", options.dedupe_window.count()}};
}

// A KV bucket is a stream with these settings; allow_direct lets a device read its own keys and no others.
json::object bucket(const char* name, const char* subject, int history, const InitOptions& options) {
  json::object out = stream(name, subject, options);
  out["discard"] = "new";
  out["max_msgs_per_subject"] = history;
  out["max_bytes"] = options.twins_bytes_max;
  out["allow_rollup_hdrs"] = true;
  out["deny_delete"] = true;
  out["allow_direct"] = true;
  return out;
}

std::vector<json::object> plan(const InitOptions& options) {
  json::object telemetry = stream(uplink::kTelemetryStream, "decklog.telemetry.>", options);
  telemetry["max_bytes"] = options.telemetry_bytes_max;
  telemetry["max_age"] = options.telemetry_age_max.count();
  json::object events = stream(uplink::kEventsStream, "decklog.events.>", options);
  events["max_bytes"] = options.events_bytes_max;
  events["max_age"] = options.events_age_max.count();
  json::object cloud = stream(uplink::kCloudStream, "decklog.c2d.>", options);
  cloud["retention"] = "workqueue";  // gone once its device accepted it
  cloud["discard"] = "new";
  cloud["max_bytes"] = options.cloud_bytes_max;
  cloud["max_age"] = options.cloud_age_max.count();
  return {bucket(uplink::kTwinsStream, "$KV.decklog_twins.>", kTwinHistory, options),
          bucket(uplink::kIdentitiesStream, "$KV.decklog_identities.>", 1, options), telemetry, events,
          cloud};
}

Result<InitStep> make(const json::object& config, const Ask& ask) {
  const std::string name(config.at("name").as_string());
  uplink::NatsMessage create;
  create.subject = "$JS.API.STREAM.CREATE." + name;
  create.body = json::serialize(config);
  auto answer = ask(create);
  if (!answer) return answer.error();
  Status made = jetstream::check(*answer);
  if (!made) return error(made.error().code, made.error().message, name);
  return InitStep{name, InitStep::Outcome::kCreated};
}

Result<InitStep> keep(const json::object& config, const uplink::NatsMessage& found, const Ask& ask) {
  const std::string name(config.at("name").as_string());
  auto info = jetstream::parse_stream_info(found);
  if (!info) return info.error();
  const std::string subject(config.at("subjects").as_array().at(0).as_string());
  if (info->subjects != std::vector<std::string>{subject}) {
    return error(Errc::kConflict, "a stream of this name exists and does not take " + subject, name);
  }
  const auto replicas = static_cast<std::uint64_t>(config.at("num_replicas").as_int64());
  if (info->replicas == replicas) return InitStep{name, InitStep::Outcome::kExisted};
  if (replicas > 1 && !info->clustered) {
    // nats-server 2.9 would write the number down and keep one copy.
    return error(Errc::kUnsupported, "a server that is not part of a cluster keeps one copy", name);
  }
  // The operator's own limits stay: the stream's configuration goes back with one number changed.
  json::object changed = json::parse(found.body).as_object().at("config").as_object();
  changed["num_replicas"] = replicas;
  uplink::NatsMessage update;
  update.subject = "$JS.API.STREAM.UPDATE." + name;
  update.body = json::serialize(changed);
  auto answer = ask(update);
  if (!answer) return answer.error();
  if (Status done = jetstream::check(*answer); !done)
    return error(done.error().code, done.error().message, name);
  return InitStep{name, InitStep::Outcome::kReplicasChanged};
}

}  // namespace

Result<std::vector<InitStep>> init_streams(const InitOptions& options, const Ask& ask) {
  if (options.replicas < 1 || options.replicas > 5) {
    return error(Errc::kInvalidArgument, "the number of replicas is 1 to 5", "replicas");
  }
  std::vector<InitStep> steps;
  for (const json::object& config : plan(options)) {
    auto found = ask(jetstream::stream_info(std::string(config.at("name").as_string())));
    if (!found) return found.error();
    const Status exists = jetstream::check(*found);
    if (!exists && exists.error().code != Errc::kNotFound) return exists.error();
    auto step = exists ? keep(config, *found, ask) : make(config, ask);
    if (!step) return step.error();
    steps.push_back(std::move(*step));
  }
  return steps;
}

}  // namespace decklog::fleet
