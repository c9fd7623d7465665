// Answers of the engine. What it is told: engine_create.cpp.
#include "services/runtime/engine_json.hpp"

#include <algorithm>
#include <cctype>

#include "services/runtime/engine_client.hpp"
#include "services/runtime/json_fields.hpp"

namespace decklog::runtime {
namespace json = boost::json;
namespace {

constexpr std::size_t kMessageLimitBytes = 512;
constexpr std::size_t kLayerLimit = 512;
constexpr std::size_t kSecretMinBytes = 4;
constexpr int kSignalBase = 128;
constexpr int kSignalLast = 64;

Result<json::value> parse_answer(std::string_view body) {
  boost::system::error_code failed;
  json::value value = json::parse(body, failed);
  if (failed) return engine_unavailable("the container engine's answer is not JSON");
  return value;
}

Presence presence_of(const std::string& status) {
  if (status == "created") return Presence::kCreated;
  if (status == "running") return Presence::kRunning;
  if (status == "paused") return Presence::kPaused;
  if (status == "restarting") return Presence::kRestarting;
  if (status == "exited") return Presence::kExited;
  if (status == "dead") return Presence::kDead;
  if (status == "removing") return Presence::kRemoving;
  return Presence::kUnknown;
}

Health health_of(const std::string& status) {
  if (status == "starting") return Health::kStarting;
  if (status == "healthy") return Health::kHealthy;
  if (status == "unhealthy") return Health::kUnhealthy;
  return Health::kNone;
}

// The engine writes "never" as the first year.
WallTime time_of(const json::value* value) {
  const std::string text = text_of(value);
  if (text.empty() || text.starts_with("0001-")) return {};
  const auto time = parse_rfc3339(text);
  return time ? *time : WallTime{};
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool holds(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

std::string first_address(const json::value* networks) {
  if (!networks || !networks->is_object()) return {};
  for (const auto& [name, network] : networks->get_object()) {
    const std::string address = text_of(member(&network, "IPAddress"));
    if (!address.empty()) return address;
  }
  return {};
}

Observation observation_of(const json::value& container) {
  const json::value* state = member(&container, "State");
  const json::value* labels = member(member(&container, "Config"), "Labels");
  Observation seen;
  seen.name = ModuleName(text_of(member(labels, kModuleLabel)));
  seen.presence = presence_of(text_of(member(state, "Status")));
  seen.runtime_id = text_of(member(&container, "Id"));
  seen.spec_hash = text_of(member(labels, kSpecHashLabel));
  seen.image_id = text_of(member(&container, "Image"));
  seen.exit_code = static_cast<int>(integer_of(member(state, "ExitCode")));
  seen.oom_killed = bool_of(member(state, "OOMKilled"));
  seen.started_at = time_of(member(state, "StartedAt"));
  seen.finished_at = time_of(member(state, "FinishedAt"));
  const bool ended = seen.presence == Presence::kExited || seen.presence == Presence::kDead;
  if (ended && seen.exit_code > kSignalBase && seen.exit_code <= kSignalBase + kSignalLast) {
    seen.signal = seen.exit_code - kSignalBase;
  }
  // The engine stamps a start when it hears of it: of a run that was over at once, after its end.
  if (ended && seen.finished_at < seen.started_at) seen.finished_at = seen.started_at;
  if (seen.presence == Presence::kRunning) {
    seen.health = health_of(text_of(member(member(state, "Health"), "Status")));
  }
  if (const auto text = text_of(member(state, "Error")); !text.empty()) {
    seen.detail = text.substr(0, kMessageLimitBytes);
  }
  return seen;
}

}  // namespace

Result<ContainerFacts> parse_container(std::string_view body) {
  auto value = parse_answer(body);
  if (!value) return value.error();
  ContainerFacts facts;
  facts.id = text_of(member(&*value, "Id"));
  if (facts.id.empty() || !member(&*value, "State")) {
    return engine_unavailable("the container engine's answer is not a container");
  }
  facts.seen = observation_of(*value);
  facts.terminal = bool_of(member(member(&*value, "Config"), "Tty"));
  facts.pid = static_cast<int>(integer_of(member(member(&*value, "State"), "Pid")));
  facts.network_mode = text_of(member(member(&*value, "HostConfig"), "NetworkMode"));
  facts.address = first_address(member(member(&*value, "NetworkSettings"), "Networks"));
  return facts;
}

Result<std::vector<ContainerEntry>> parse_containers(std::string_view body) {
  auto value = parse_answer(body);
  if (!value) return value.error();
  if (!value->is_array())
    return engine_unavailable("the container engine's answer is not a list of containers");
  std::vector<ContainerEntry> entries;
  for (const auto& item : value->get_array()) {
    ContainerEntry entry;
    entry.id = text_of(member(&item, "Id"));
    entry.module = ModuleName(text_of(member(member(&item, "Labels"), kModuleLabel)));
    if (entry.id.empty() || entry.module.empty()) continue;
    entry.state = text_of(member(&item, "State"));
    const std::string status = text_of(member(&item, "Status"));
    if (const auto bracket = status.find('('); bracket != std::string::npos)
      entry.state += status.substr(bracket);
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<ImageFacts> parse_image(std::string_view body) {
  auto value = parse_answer(body);
  if (!value) return value.error();
  ImageFacts image;
  image.id = text_of(member(&*value, "Id"));
  if (image.id.empty()) return engine_unavailable("the container engine's answer is not an image");
  image.bytes = static_cast<std::uint64_t>(integer_of(member(&*value, "Size")));
  const auto* digests = member(&*value, "RepoDigests");
  if (digests && digests->is_array()) {
    for (const auto& digest : digests->get_array()) image.repository_digests.push_back(text_of(&digest));
  }
  return image;
}

bool has_digest(const ImageFacts& image, const std::string& digest) {
  return image.id == digest ||
         std::any_of(image.repository_digests.begin(), image.repository_digests.end(),
                     [&](const std::string& known) { return known.ends_with("@" + digest); });
}

std::optional<EngineEvent> parse_event(std::string_view line) {
  auto value = parse_answer(line);
  if (!value || !value->is_object()) return std::nullopt;
  const json::value* actor = member(&*value, "Actor");
  EngineEvent event;
  event.action = text_of(member(&*value, "Action"));
  event.container = text_of(member(actor, "ID"));
  event.module = ModuleName(text_of(member(member(actor, "Attributes"), kModuleLabel)));
  event.time_ns = integer_of(member(&*value, "timeNano"));
  return event;
}

std::string engine_message(std::string_view body) {
  std::string text(body.substr(0, kMessageLimitBytes * 4));
  boost::system::error_code failed;
  const json::value value = json::parse(body, failed);
  if (!failed && member(&value, "message")) text = text_of(member(&value, "message"));
  for (char& c : text) {
    if (std::iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  while (text.ends_with(' ')) text.pop_back();
  return text.substr(0, kMessageLimitBytes);
}

Error classify_pull_error(const std::string& message, const std::string& image) {
  const std::string text = lower(message);
  if (holds(text, {"unauthorized", "no basic auth", "authentication required", "access denied",
                   "denied:", "incorrect username", "401 "})) {
    return error(Errc::kUnauthenticated, message, image);
  }
  if (holds(text, {"manifest unknown", "not found", "does not exist", "no such image", "name unknown"})) {
    return error(Errc::kNotFound, message, image);
  }
  if (holds(text, {"no space left"})) return error(Errc::kNoSpace, message, image);
  if (holds(text, {"invalid reference", "invalid tag", "repository name must be"})) {
    return error(Errc::kInvalidArgument, message, image);
  }
  return error(Errc::kUnavailable, message, "registry");
}

std::string redact(std::string text, const ModuleSpec& spec) {
  std::vector<std::string> secrets;
  for (const auto& [name, value] : spec.env) secrets.push_back(value);
  if (spec.credential) secrets.push_back(spec.credential->password);
  // Long ones first: a short one may be a part of a long one.
  std::sort(secrets.begin(), secrets.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (const auto& secret : secrets) {
    if (secret.size() < kSecretMinBytes) continue;
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3)) {
      text.replace(at, secret.size(), "***");
    }
  }
  return text;
}

bool PullMeter::feed(std::string_view line) {
  auto value = parse_answer(line);
  if (!value || !value->is_object()) return false;
  if (const auto text = text_of(member(&*value, "error")); !text.empty()) error_ = engine_message(text);
  const std::string status = text_of(member(&*value, "status"));
  const std::string id = text_of(member(&*value, "id"));
  if (status == "Downloading") progress_.phase = "downloading";
  if (status == "Extracting") progress_.phase = "extracting";
  if (status == "Verifying Checksum") progress_.phase = "verifying";
  if (progress_.phase.empty()) progress_.phase = "downloading";
  const auto* detail = member(&*value, "progressDetail");
  if (id.empty() || (!layers_.contains(id) && layers_.size() >= kLayerLimit)) return true;
  Layer& layer = layers_[id];
  if (status == "Downloading") {
    layer.done = static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer_of(member(detail, "current"))));
    layer.total =
        std::max(layer.done,
                 static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer_of(member(detail, "total")))));
  } else if (status == "Download complete" || status == "Pull complete") {
    layer.done = layer.total;
  }
  progress_.bytes_done = progress_.bytes_total = 0;
  for (const auto& [name, part] : layers_) {
    progress_.bytes_done += part.done;
    progress_.bytes_total += part.total;
  }
  return true;
}

bool LineBuffer::feed(std::string_view bytes, std::vector<std::string>& lines) {
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    partial_.append(bytes.substr(0, newline));
    if (partial_.size() > limit_bytes_) return false;
    if (newline == std::string_view::npos) return true;
    bytes.remove_prefix(newline + 1);
    if (!partial_.empty() && partial_ != "\r") lines.push_back(std::move(partial_));
    partial_.clear();
  }
  return true;
}

}  // namespace decklog::runtime
