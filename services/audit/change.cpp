#include "services/audit/change.hpp"

#include <boost/json.hpp>
#include <charconv>

#include "services/agent/stored_deployment.hpp"

namespace decklog::audit {
namespace {

namespace json = boost::json;

constexpr const char* kForms = "a change is drop=SEQ, delay=SEQ:DURATION or set=PATH=VALUE";

Error wrong(const std::string& argument, std::string why) {
  return error(Errc::kInvalidArgument, std::move(why), argument);
}

Result<Sequence> parse_sequence(const std::string& argument, std::string_view text) {
  Sequence sequence;
  const char* end = text.data() + text.size();
  const auto [at, failed] = std::from_chars(text.data(), end, sequence.value);
  if (failed != std::errc{} || at != end || !sequence)
    return wrong(argument, "'" + std::string(text) + "' is no sequence of an event");
  return sequence;
}

Result<Change> parse_delay(Change change, const std::string& rest) {
  const auto colon = rest.find(':');
  if (colon == std::string::npos)
    return wrong(change.text, "a delay is delay=SEQ:DURATION, like delay=120:30s");
  const auto sequence = parse_sequence(change.text, std::string_view(rest).substr(0, colon));
  if (!sequence) return sequence.error();
  const auto by = parse_duration(std::string_view(rest).substr(colon + 1));
  if (!by || *by <= Duration::zero())
    return wrong(change.text, "'" + rest.substr(colon + 1) + "' is no duration to wait (30s, 1m30s, 250ms)");
  change.input = *sequence;
  change.by = *by;
  return change;
}

Result<Change> parse_set(Change change, const std::string& rest) {
  const auto equal = rest.find('=');
  if (equal == 0 || equal == std::string::npos)
    return wrong(change.text, "a setting is set=PATH=VALUE, like set=modules.sensor.restartPolicy=never");
  change.path = rest.substr(0, equal);
  change.value = rest.substr(equal + 1);
  if (change.path.starts_with("$.")) change.path.erase(0, 2);
  if (change.path.front() == '.' || change.path.back() == '.' || change.path.find("..") != std::string::npos)
    return wrong(change.text, "the path has an empty member");
  return change;
}

// The document's root inside a deployment manifest, as parse_deployment() finds it.
json::value& root_of(json::value& document) {
  json::value* at = &document;
  const auto into = [&](const char* member) {
    if (!at->is_object() || !at->get_object().contains(member)) return false;
    at = &at->get_object()[member];
    return true;
  };
  into("content");
  if (into("modulesContent")) {
    into("$edgeAgent");
    into("properties.desired");
  }
  return *at;
}

// The member that the path's beginning names; names may hold dots themselves, so the longest counts.
std::string first_member(const json::object& object, std::string_view path) {
  std::string found(path.substr(0, path.find('.')));
  for (const auto& member : object) {
    const std::string_view key(member.key());
    const bool whole = path.starts_with(key) && (path.size() == key.size() || path[key.size()] == '.');
    if (whole && key.size() > found.size()) found = key;
  }
  return found;
}

// False when the module named is not in the document, or something on the way is no object.
bool set_member(json::value& root, std::string_view path, const json::value& value) {
  const bool module_first = path.starts_with("modules.") || path.starts_with("systemModules.");
  json::value* at = &root;
  for (int depth = 0; !path.empty(); ++depth) {
    if (!at->is_object()) return false;
    json::object& object = at->get_object();
    const std::string member = first_member(object, path);
    path.remove_prefix(std::min(path.size(), member.size() + 1));
    if (path.empty()) {
      object[member] = value;
      return true;
    }
    if (!object.contains(member)) {
      if (module_first && depth < 2) return false;
      object[member] = json::object{};
    }
    at = &object[member];
  }
  return false;
}

}  // namespace

Result<Change> parse_change(const std::string& text) {
  const auto equal = text.find('=');
  if (equal == std::string::npos) return wrong(text, kForms);
  const std::string key = text.substr(0, equal), rest = text.substr(equal + 1);
  Change change;
  change.text = text;
  if (key == "drop") {
    const auto sequence = parse_sequence(text, rest);
    if (!sequence) return sequence.error();
    change.input = *sequence;
    return change;
  }
  if (key == "delay") {
    change.kind = Change::Kind::kDelay;
    return parse_delay(std::move(change), rest);
  }
  if (key == "set") {
    change.kind = Change::Kind::kSet;
    return parse_set(std::move(change), rest);
  }
  return wrong(text, kForms);
}

DocumentChanges::DocumentChanges(const std::vector<Change>& changes) {
  for (const auto& change : changes) {
    if (change.kind == Change::Kind::kSet) changes_.push_back(change);
  }
  used_.resize(changes_.size());
}

Result<std::string> DocumentChanges::apply(const std::string& document) {
  json::error_code failed;
  json::value value = json::parse(document, failed);
  if (failed) return document;  // the device refused it, and so will the core
  const bool sound = agent::parse_stored_deployment(document).has_value();
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    json::value wanted = json::parse(changes_[i].value, failed);
    if (failed) wanted = json::string(changes_[i].value);
    if (!set_member(root_of(value), changes_[i].path, wanted)) continue;
    used_[i] = true;
    const auto parsed = agent::parse_stored_deployment(json::serialize(value));
    if (sound && !parsed)
      return wrong(changes_[i].text, "the agent would refuse that: " + describe(parsed.error()));
  }
  return json::serialize(value);
}

Status DocumentChanges::apply(agent::AgentState& state) {
  for (auto& [hash, document] : state.documents) {
    auto text = apply(document->text);
    if (!text) return text.error();
    auto parsed = agent::parse_stored_deployment(*text);
    if (!parsed) return parsed.error();
    auto changed = std::make_shared<agent::Document>(*document);
    changed->text = std::move(*text);
    changed->deployment = std::move(*parsed);
    document = std::move(changed);
  }
  return {};
}

Status DocumentChanges::all_used() const {
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    if (!used_[i])
      return wrong(changes_[i].text,
                   "no desired document of this log has a place for '" + changes_[i].path + "'");
  }
  return {};
}

}  // namespace decklog::audit
