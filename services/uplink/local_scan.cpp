#include "services/uplink/local_scan.hpp"

#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>

namespace decklog::uplink {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMethodTimeoutDefault = 30;  // seconds
constexpr std::int64_t kMethodTimeoutMax = 600;     // seconds

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

Result<json::object> parse(const std::string& text) {
  boost::system::error_code failure;
  json::value value = json::parse(text, failure);
  if (failure) return error(Errc::kMalformed, "not JSON: " + failure.message());
  if (!value.is_object()) return error(Errc::kMalformed, "not a JSON object");
  return std::move(value.as_object());
}

bool passing(const Error& failure) {
  return failure.code == Errc::kUnavailable || failure.code == Errc::kNotFound;
}

Status move_file(const std::string& from, const std::string& to) {
  if (Status made = make_directories(to.substr(0, to.rfind('/'))); !made) return made;
  if (::rename(from.c_str(), to.c_str()) != 0) return errno_error("rename", from);
  return {};
}

void look_at(LocalStore& store, DocumentKind kind, const TwinKey& key, std::uint64_t known,
             std::vector<std::pair<TwinKey, TwinValue>>& out, ScanFinds& finds) {
  auto value = store.read_if_newer(kind, key, known);
  if (value && *value && (*value)->revision > 0) out.emplace_back(key, std::move(**value));
  if (!value && !passing(value.error())) finds.failures.emplace_back(store.path(kind, key), value.error());
}

Result<MethodCall> parse_call(const std::string& text) {
  auto object = parse(text);
  if (!object) return object.error();
  MethodCall call;
  call.device = text_of(*object, "device");
  call.module = text_of(*object, "module");
  call.name = text_of(*object, "name");
  if (call.device.empty() || call.name.empty())
    return error(Errc::kMalformed, "a call names at least device and name");
  const json::value* payload = object->if_contains("payload");
  call.payload = payload ? json::serialize(*payload) : "null";
  const json::value* timeout = object->if_contains("timeoutSeconds");
  std::int64_t seconds = timeout && timeout->is_int64() ? timeout->as_int64() : kMethodTimeoutDefault;
  call.timeout = std::chrono::seconds(std::clamp<std::int64_t>(seconds, 1, kMethodTimeoutMax));
  return call;
}

void find_calls(LocalStore& store, const ScanInterest& interest, ScanFinds& finds) {
  // Claimed by a run of ours that ended before it answered: what became of the call is not known.
  for (const std::string& file : list_files(store.methods("taken"), ".json")) {
    if (interest.calls.contains(file)) continue;
    const auto text = read_settled(store.methods("taken/") + file);
    const auto call = text ? parse_call(text->text) : Result<MethodCall>(text.error());
    if (!call || !interest.methods.contains({call->device, call->module})) continue;
    (void)write_answer(store, file, {504, R"({"message":"the device lost the call before it answered"})"});
  }
  std::size_t room = kMaxCallsOpen - std::min(kMaxCallsOpen, interest.calls.size());
  for (const std::string& file : list_files(store.methods("in"), ".json")) {
    if (interest.methods.empty() || room == 0) return;
    const std::string path = store.methods("in/") + file;
    const auto text = read_settled(path);
    if (!text) {
      if (!passing(text.error())) finds.failures.emplace_back(path, text.error());
      continue;
    }
    auto call = parse_call(text->text);
    if (call && !interest.methods.contains({call->device, call->module})) continue;
    if (!move_file(path, store.methods("taken/") + file)) continue;  // the other service was first
    if (!call) {
      (void)write_answer(store, file,
                         {400, json::serialize(json::object{{"message", call.error().message}})});
      continue;
    }
    --room;
    finds.calls.emplace_back(file, std::move(*call));
  }
}

Result<CloudMessage> parse_message(const std::string& text) {
  auto object = parse(text);
  if (!object) return object.error();
  CloudMessage message;
  if (const json::value* properties = object->if_contains("properties");
      properties && properties->is_object()) {
    for (const auto& [name, value] : properties->as_object()) {
      message.properties.emplace_back(
          name, value.is_string() ? std::string(value.as_string()) : json::serialize(value));
    }
  }
  if (const json::value* encoded = object->if_contains("bodyBase64"); encoded && encoded->is_string()) {
    auto body = from_base64(encoded->as_string());
    if (!body) return body.error();
    message.body = std::move(*body);
  } else if (const json::value* body = object->if_contains("body")) {
    message.body = body->is_string() ? std::string(body->as_string()) : json::serialize(*body);
  }
  return message;
}

void find_messages(LocalStore& store, const std::string& device, const std::set<std::string>& out,
                   ScanFinds& finds) {
  std::size_t room = kMaxCloudUnsettled - std::min(kMaxCloudUnsettled, out.size());
  for (const std::string& file : list_files(store.cloud(device, "in"), ".json")) {
    if (room == 0) return;
    if (out.contains(file)) continue;
    const std::string path = store.cloud(device, "in/") + file;
    const auto text = read_settled(path);
    if (!text && passing(text.error())) continue;
    auto message = text ? parse_message(text->text) : Result<CloudMessage>(text.error());
    if (!message) {
      finds.failures.emplace_back(path, message.error());
      (void)settle_file(store, device, file, Settle::kReject);
      continue;
    }
    --room;
    message->device = device;
    message->id = file;
    finds.clouds.emplace_back(file, std::move(*message));
  }
}

}  // namespace

Result<ScanFinds> scan(LocalStore& store, const ScanInterest& interest) {
  if (const Status link = store.check_link(); !link) return link.error();
  ScanFinds finds;
  for (const auto& [key, known] : interest.desired)
    look_at(store, DocumentKind::kDesired, key, known, finds.desired, finds);
  for (const auto& [device, known] : interest.identities) {
    for (const TwinKey& key : store.keys(DocumentKind::kIdentity, device)) {
      const auto last = known.find(key);
      look_at(store, DocumentKind::kIdentity, key, last == known.end() ? 0 : last->second, finds.identities,
              finds);
    }
  }
  find_calls(store, interest, finds);
  for (const auto& [device, out] : interest.clouds) find_messages(store, device, out, finds);
  return finds;
}

Status write_answer(LocalStore& store, const std::string& file, const MethodAnswer& answer) {
  const std::string text = "{\"status\":" + std::to_string(answer.status) +
                           ",\"payload\":" + (answer.payload.empty() ? "null" : answer.payload) + "}";
  if (Status made = make_directories(store.methods("out")); !made) return made;
  if (Status written = write_atomically(store.methods("out/") + file, text); !written) return written;
  ::unlink((store.methods("taken/") + file).c_str());
  return {};
}

Status settle_file(LocalStore& store, const std::string& device, const std::string& file, Settle how) {
  const std::string path = store.cloud(device, "in/") + file;
  if (how == Settle::kReject) return move_file(path, store.cloud(device, "rejected/") + file);
  if (how == Settle::kAccept && ::unlink(path.c_str()) != 0 && errno != ENOENT)
    return errno_error("remove", path);
  return {};
}

}  // namespace decklog::uplink
