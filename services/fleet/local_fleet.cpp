#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "services/fleet/fleet.hpp"
#include "services/uplink/local_store.hpp"
#include "services/uplink/names.hpp"

namespace decklog::fleet {
namespace {

namespace json = boost::json;
using uplink::DocumentKind;

constexpr auto kPoll = std::chrono::milliseconds(20);  // files of another process; a tool may poll

std::string unique_name() {
  // Sorted by name is sorted by time of sending.
  static std::uint64_t count = 0;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  char text[64];
  std::snprintf(text, sizeof text, "%020lld-%06llu-%08x.json",
                static_cast<long long>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()),
                static_cast<unsigned long long>(++count), static_cast<unsigned>(std::random_device{}()));
  return text;
}

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

class LocalFleet final : public Fleet {
 public:
  explicit LocalFleet(const std::string& directory) : store_(options(directory)) {}

  Result<std::vector<InitStep>> init(const InitOptions&) override {
    if (Status made = store_.create(); !made) return made.error();
    return std::vector<InitStep>{{store_.root(), InitStep::Outcome::kExisted}};
  }
  Result<std::uint64_t> put_desired(const TwinKey& key, const std::string& text,
                                    std::optional<std::uint64_t> expected) override {
    return put(DocumentKind::kDesired, key, text, expected);
  }
  Status remove_desired(const TwinKey& key) override {
    return done(put(DocumentKind::kDesired, key, {}, std::nullopt));
  }
  Result<TwinValue> get_desired(const TwinKey& key) override { return get(DocumentKind::kDesired, key); }
  Result<TwinValue> get_reported(const TwinKey& key) override { return get(DocumentKind::kReported, key); }
  Status put_identity(const TwinKey& key, const std::string& text) override {
    return done(put(DocumentKind::kIdentity, key, text, std::nullopt));
  }
  Status remove_identity(const TwinKey& key) override {
    return done(put(DocumentKind::kIdentity, key, {}, std::nullopt));
  }
  Result<TwinValue> get_identity(const TwinKey& key) override { return get(DocumentKind::kIdentity, key); }

  Result<MethodAnswer> call(const TwinKey& key, const std::string& method, const std::string& payload,
                            Duration timeout) override;
  Status send(const uplink::CloudMessage& message) override;
  Status tail_telemetry(const TailOptions& options,
                        const std::function<Tail(const TelemetryRecord&)>& take) override;

 private:
  static uplink::LocalOptions options(const std::string& directory) {
    uplink::LocalOptions out;
    out.directory = directory;
    return out;
  }
  static Status done(const Result<std::uint64_t>& result) {
    if (!result) return result.error();
    return {};
  }
  Result<std::uint64_t> put(DocumentKind kind, const TwinKey& key, const std::string& text,
                            std::optional<std::uint64_t> expected) {
    if (Status made = store_.create(); !made) return made.error();
    return store_.write(kind, key, text, expected);
  }
  Result<TwinValue> get(DocumentKind kind, const TwinKey& key) {
    std::error_code failed;
    if (!std::filesystem::exists(store_.root(), failed)) return TwinValue{};  // nobody wrote anything yet
    auto value = store_.read(kind, key);
    if (!value) return value.error();
    if (value->json.empty()) return TwinValue{};
    return value;
  }

  uplink::LocalStore store_;
};

Result<MethodAnswer> LocalFleet::call(const TwinKey& key, const std::string& method,
                                      const std::string& payload, Duration timeout) {
  boost::system::error_code failure;
  json::value body = json::parse(payload.empty() ? "null" : payload, failure);
  if (failure) return error(Errc::kInvalidArgument, "the payload is not JSON");
  if (Status made = store_.create(); !made) return made.error();
  const std::string name = unique_name();
  const auto seconds =
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(timeout).count());
  const std::string request = json::serialize(json::object{{"device", key.device},
                                                           {"module", key.module},
                                                           {"name", method},
                                                           {"payload", body},
                                                           {"timeoutSeconds", seconds}});
  const std::string in = store_.methods("in/") + name;
  if (Status written = uplink::write_atomically(in, request); !written) return written.error();
  const std::string out = store_.methods("out/") + name;
  const auto until = std::chrono::steady_clock::now() + timeout + std::chrono::seconds(2);
  for (;;) {
    auto answer = uplink::read_settled(out);
    if (answer) {
      ::unlink(out.c_str());
      const json::value value = json::parse(answer->text, failure);
      const json::object* object = failure ? nullptr : value.if_object();
      const json::value* status = object ? object->if_contains("status") : nullptr;
      if (!status || !status->is_int64())
        return error(Errc::kMalformed, "the device's answer is not a method answer");
      const json::value* result = object->if_contains("payload");
      return MethodAnswer{static_cast<int>(status->as_int64()), result ? json::serialize(*result) : "null"};
    }
    if (std::chrono::steady_clock::now() >= until) {
      // Still where we put it: nobody took the call, and nobody shall take it later.
      if (::unlink(in.c_str()) == 0)
        return error(Errc::kUnavailable, "nobody answers", key.device + '/' + key.module);
      return error(Errc::kTimeout, "the device took the call and did not answer",
                   key.device + '/' + key.module);
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Status LocalFleet::send(const uplink::CloudMessage& message) {
  if (Status valid = uplink::check_key({message.device, {}}); !valid) return valid;
  json::object properties;
  for (const auto& [name, value] : message.properties) properties[name] = value;
  json::object text{{"properties", properties}};
  if (uplink::valid_utf8(message.body)) {
    text["body"] = message.body;
  } else {
    text["bodyBase64"] = uplink::to_base64(message.body);
  }
  const std::string folder = store_.cloud(message.device, "in");
  if (Status made = uplink::make_directories(folder); !made) return made;
  return uplink::write_atomically(folder + '/' + unique_name(), json::serialize(text));
}

Result<TelemetryRecord> record_of(const std::string& line) {
  boost::system::error_code failure;
  const json::value value = json::parse(line, failure);
  if (failure || !value.is_object()) return error(Errc::kMalformed, "not a telemetry line");
  const json::object& object = value.as_object();
  TelemetryRecord out;
  out.id = text_of(object, "id");
  out.device = text_of(object, "device");
  out.module = text_of(object, "module");
  out.output = text_of(object, "output");
  out.enqueued = text_of(object, "enqueued");
  out.body = text_of(object, "body");
  if (object.contains("bodyBase64")) {
    auto body = uplink::from_base64(text_of(object, "bodyBase64"));
    if (!body) return body.error();
    out.body = std::move(*body);
  }
  if (const json::value* properties = object.if_contains("properties");
      properties && properties->is_array()) {
    for (const json::value& pair : properties->as_array()) {
      if (!pair.is_array() || pair.as_array().size() != 2) continue;
      const json::array& both = pair.as_array();
      if (both[0].is_string() && both[1].is_string()) {
        out.properties.emplace_back(std::string(both[0].as_string()), std::string(both[1].as_string()));
      }
    }
  }
  return out;
}

Status LocalFleet::tail_telemetry(const TailOptions& options,
                                  const std::function<Tail(const TelemetryRecord&)>& take) {
  std::map<std::string, std::streamoff> offsets;
  bool first = true;
  auto idle_since = std::chrono::steady_clock::now();
  for (;;) {
    const std::string root = store_.root() + "/telemetry";
    for (const std::string& device : uplink::list_folders(root)) {
      if (!options.device.empty() && device != uplink::escape_token(options.device)) continue;
      for (const std::string& name : uplink::list_files(root + '/' + device, ".jsonl")) {
        const std::string path = root + '/' + device + '/' + name;
        std::streamoff& offset = offsets[path];
        if (first && options.from == TailOptions::From::kNow) {
          const auto stamp = uplink::stamp_of(path);
          offset = stamp ? static_cast<std::streamoff>(stamp->size) : 0;
          continue;
        }
        std::ifstream file(path, std::ios::binary);
        file.seekg(offset);
        // A line without an end is still being written.
        for (std::string line; std::getline(file, line) && !file.eof();) {
          offset += static_cast<std::streamoff>(line.size() + 1);
          idle_since = std::chrono::steady_clock::now();
          const auto record = record_of(line);
          if (record && take(*record) == Tail::kStop) return {};
        }
      }
    }
    first = false;
    if (options.idle_max > Duration::zero() &&
        std::chrono::steady_clock::now() - idle_since >= options.idle_max)
      return {};
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace

std::unique_ptr<Fleet> open_local_fleet(const std::string& directory) {
  return std::make_unique<LocalFleet>(directory);
}

}  // namespace decklog::fleet
