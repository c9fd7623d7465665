#include "services/uplink/local_store.hpp"

#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>

#include "services/uplink/names.hpp"

namespace decklog::uplink {
namespace {

namespace json = boost::json;

const char* name_of(DocumentKind kind) {
  switch (kind) {
    case DocumentKind::kDesired:
      return "desired";
    case DocumentKind::kReported:
      return "reported";
    case DocumentKind::kIdentity:
      return "identities";
  }
  return "unknown";
}

struct Revision {
  std::uint64_t number = 0;
  std::string digest;  // of the document; empty = removed
};

// A revision file that is damaged counts as none; the document then begins a new, higher count by the file's
// time.
Result<Revision> read_revision(const std::string& path) {
  auto file = read_settled(path);
  if (!file && file.error().code == Errc::kNotFound) return Revision{};
  if (!file) return file.error();
  boost::system::error_code failure;
  const json::value value = json::parse(file->text, failure);
  const json::object* object = failure ? nullptr : value.if_object();
  const json::value* number = object ? object->if_contains("revision") : nullptr;
  const json::value* digest = object ? object->if_contains("digest") : nullptr;
  if (!number || !number->is_int64() || number->as_int64() < 0 || !digest || !digest->is_string()) {
    return Revision{static_cast<std::uint64_t>(file->stamp.modified_ns / 1000000), "damaged"};
  }
  return Revision{static_cast<std::uint64_t>(number->as_int64()), std::string(digest->as_string())};
}

Status write_revision(const std::string& path, const Revision& revision) {
  if (Status made = make_directories(path.substr(0, path.rfind('/'))); !made) return made;
  return write_atomically(
      path, json::serialize(json::object{{"revision", revision.number}, {"digest", revision.digest}}));
}

}  // namespace

Status LocalStore::create() {
  for (const char* part : {"/desired", "/reported", "/identities", "/telemetry", "/events", "/revisions",
                           "/methods/in", "/methods/out", "/methods/taken", "/c2d"}) {
    if (Status made = make_directories(options_.directory + part); !made) return made;
  }
  return {};
}

Status LocalStore::check_link() const {
  if (::access((options_.directory + "/OFFLINE").c_str(), F_OK) == 0) {
    return error(Errc::kUnavailable, "the directory holds an OFFLINE marker", options_.directory);
  }
  if (::access(options_.directory.c_str(), W_OK | X_OK) != 0) {
    return error(Errc::kUnavailable, std::string("the directory cannot be written: ") + std::strerror(errno),
                 options_.directory);
  }
  return {};
}

std::string LocalStore::folder(DocumentKind kind, std::string_view device) const {
  return options_.directory + '/' + name_of(kind) + '/' + escape_token(device);
}

std::string LocalStore::path(DocumentKind kind, const TwinKey& key) const {
  return folder(kind, key.device) + '/' + module_token(key.module) + ".json";
}

std::string LocalStore::revision_path(DocumentKind kind, const TwinKey& key) const {
  return options_.directory + "/revisions/" + name_of(kind) + '/' + escape_token(key.device) + '/' +
         module_token(key.module) + ".json";
}

std::string LocalStore::cloud(std::string_view device, std::string_view part) const {
  return options_.directory + "/c2d/" + escape_token(device) + '/' + std::string(part);
}

std::string LocalStore::telemetry(std::string_view device) const {
  return options_.directory + "/telemetry/" + escape_token(device);
}

std::string LocalStore::events(std::string_view device, std::string_view service) const {
  return options_.directory + "/events/" + escape_token(device) + '/' + escape_token(service);
}

Result<TwinValue> LocalStore::read(DocumentKind kind, const TwinKey& key) {
  if (const Status valid = check_key(key); !valid) return valid.error();
  auto lock = FileLock::take(options_.directory + "/.lock");
  if (!lock) return lock.error();
  return read_locked(kind, key);
}

Result<TwinValue> LocalStore::read_locked(DocumentKind kind, const TwinKey& key) {
  auto revision = read_revision(revision_path(kind, key));
  if (!revision) return revision.error();
  auto file = read_settled(path(kind, key));
  if (!file && file.error().code != Errc::kNotFound) return file.error();
  const std::string digest = file ? sha256_hex(file->text) : std::string();
  if (digest != revision->digest) {
    // Written or removed by somebody else since we looked last.
    revision->number += 1;
    revision->digest = digest;
    if (Status kept = write_revision(revision_path(kind, key), *revision); !kept) return kept.error();
  }
  known_[{kind, key}] = {file ? file->stamp : FileStamp{}, static_cast<bool>(file), revision->number};
  return TwinValue{file ? std::move(file->text) : std::string(), revision->number};
}

Result<std::optional<TwinValue>> LocalStore::read_if_newer(DocumentKind kind, const TwinKey& key,
                                                           std::uint64_t known) {
  const auto stamp = stamp_of(path(kind, key));
  const auto last = known_.find({kind, key});
  if (last != known_.end() && last->second.revision == known && last->second.present == stamp.has_value() &&
      (!stamp || *stamp == last->second.stamp)) {
    return std::optional<TwinValue>();
  }
  auto value = read(kind, key);
  if (!value) return value.error();
  if (value->revision == known) return std::optional<TwinValue>();
  return std::optional<TwinValue>(std::move(*value));
}

Result<std::uint64_t> LocalStore::write(DocumentKind kind, const TwinKey& key, const std::string& json,
                                        std::optional<std::uint64_t> expected) {
  if (const Status valid = check_key(key); !valid) return valid.error();
  if (json.size() > kMaxDocumentBytes) return error(Errc::kTooLarge, "the document is too large");
  auto lock = FileLock::take(options_.directory + "/.lock");
  if (!lock) return lock.error();
  auto current = read_locked(kind, key);
  // A file somebody is just writing is about to be replaced by ours only when the caller does not care.
  if (!current && (current.error().code != Errc::kUnavailable || expected)) return current.error();
  if (expected) {
    const bool same =
        *expected == 0 ? current->json.empty() : current->revision == *expected && !current->json.empty();
    if (!same) {
      return error(Errc::kConflict, "the revision moved: it is " + std::to_string(current->revision) +
                                        ", not " + std::to_string(*expected));
    }
  }
  auto revision = read_revision(revision_path(kind, key));
  if (!revision) return revision.error();
  if (Status made = make_directories(folder(kind, key.device)); !made) return made.error();
  if (json.empty()) {
    if (::unlink(path(kind, key).c_str()) != 0 && errno != ENOENT)
      return errno_error("remove", path(kind, key));
  } else if (Status written = write_atomically(path(kind, key), json); !written) {
    return written.error();
  }
  revision->number += 1;
  revision->digest = json.empty() ? std::string() : sha256_hex(json);
  if (Status kept = write_revision(revision_path(kind, key), *revision); !kept) return kept.error();
  return revision->number;
}

std::vector<TwinKey> LocalStore::keys(DocumentKind kind, const std::string& device) const {
  std::vector<std::string> names = list_files(folder(kind, device), ".json");
  const std::string revisions = revision_path(kind, {device, {}});
  for (std::string& name : list_files(revisions.substr(0, revisions.rfind('/')), ".json"))
    names.push_back(std::move(name));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<TwinKey> out;
  for (const std::string& name : names) {
    if (auto module = module_of(std::string_view(name).substr(0, name.size() - 5)))
      out.push_back({device, std::move(*module)});
  }
  return out;
}

LocalStore::Line LocalStore::telemetry_line(const std::string& sender, const Telemetry& message) {
  json::object line;
  line["id"] = telemetry_id(sender, message.epoch, message.sequence);
  line["device"] = message.device;
  line["module"] = message.module;
  line["output"] = message.output;
  line["epoch"] = message.epoch;
  line["sequence"] = message.sequence;
  line["enqueued"] = to_rfc3339(message.enqueued);
  json::array properties;
  for (const auto& [name, value] : message.properties) {
    // Pairs, as a name may come twice; text that is not UTF-8 has no place in JSON.
    properties.push_back(json::array{valid_utf8(name) ? name : percent_encode(name),
                                     valid_utf8(value) ? value : percent_encode(value)});
  }
  line["properties"] = std::move(properties);
  if (valid_utf8(message.body)) {
    line["body"] = message.body;
  } else {
    line["bodyBase64"] = to_base64(message.body);
  }
  return {telemetry_id(sender, message.epoch, message.sequence), json::serialize(line)};
}

}  // namespace decklog::uplink
