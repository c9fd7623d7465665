#include "services/workload/redact.hpp"

#include <boost/json.hpp>

namespace decklog::workload {
namespace {
namespace json = boost::json;

constexpr int kMaxChunks = 100;  // createOptions, createOptions01 .. createOptions99

Result<json::value> parse(std::string_view text) {
  json::parse_options options;
  options.max_depth = kMaxRedactDepth;
  boost::system::error_code failure;
  json::value value = json::parse(text, failure, {}, options);
  if (failure) return error(Errc::kMalformed, "not a JSON document: " + failure.message());
  return value;
}

std::string chunk_name(int index) {
  if (index == 0) return "createOptions";
  return "createOptions" + std::string(index < 10 ? "0" : "") + std::to_string(index);
}

class Redactor final {
 public:
  explicit Redactor(const KeyedDigest& digests) : digests_(digests) {}

  // Where a name that says "secret" covers objects too. Outside of settings such a name may be a module's or
  // a route's ("token-service"), whose members have names of their own to go by.
  enum class Zone { kStructure, kSettings };

  void object(json::object& members, Zone zone) {
    create_options(members);
    for (auto& [key, value] : members) member(key, value, zone);
  }

 private:
  std::string digest(std::string_view text) const { return digests_.digest(text); }

  void member(std::string_view key, json::value& value, Zone zone) {
    if (key == "createOptions") return;  // done as a whole
    if (key == "env" || key == "Env") return environment(value);
    const bool named = key == "routes" || key == "modules" || key == "systemModules";
    if (named && zone == Zone::kStructure && value.is_object()) return names_are_free(value.get_object());
    if (key == "settings") zone = Zone::kSettings;
    const bool arguments =
        key == "command" || key == "Cmd" || key == "Entrypoint" || key == "Test" || key == "args";
    if (arguments && value.is_array()) return argument_list(value.get_array());
    if (is_secret_name(key) && key != "registryCredentials" &&
        (zone == Zone::kSettings || !value.is_object())) {
      return everything(value);
    }
    any(value, zone);
  }

  void any(json::value& value, Zone zone) {
    if (auto* members = value.if_object()) return object(*members, zone);
    if (auto* items = value.if_array()) {
      for (auto& item : *items) any(item, zone);
    }
    if (auto* text = value.if_string()) string(*text);
  }

  // Modules and routes are called as their owner likes, "env" and "settings" too.
  void names_are_free(json::object& members) {
    for (auto& [key, value] : members) any(value, Zone::kStructure);
  }

  void string(json::string& text) {
    const std::string_view view(text);
    const std::size_t first = view.find_first_not_of(" \t\r\n");
    if (first != view.npos && (view[first] == '{' || view[first] == '[')) {
      if (auto inner = parse(view)) {
        json::value before = *inner;
        any(*inner, Zone::kSettings);
        if (*inner != before) text = json::serialize(*inner);
        return;
      }
    }
    // A path stays one: a probe's path must begin with '/', in its redacted form too.
    if (looks_secret(view)) text = (view.starts_with('/') ? "/" : "") + digest(view);
  }

  // Types stay: a document that is refused for a number in `env` is refused in its redacted form too.
  void everything(json::value& value) {
    if (auto* members = value.if_object()) {
      for (auto& [key, item] : *members) everything(item);
    } else if (auto* items = value.if_array()) {
      for (auto& item : *items) everything(item);
    } else if (auto* text = value.if_string()) {
      if (!text->empty()) *text = digest(*text);
    } else if (value.is_number()) {
      value = digests_.digest_number(json::serialize(value));
    }
  }

  // {"NAME": {"value": "..."}} of a deployment, ["NAME=value"] of container options.
  void environment(json::value& value) {
    auto* items = value.if_array();
    if (!items) return everything(value);
    for (auto& item : *items) {
      auto* text = item.if_string();
      const std::size_t sign = text ? text->find('=') : json::string::npos;
      if (!text || sign == json::string::npos) {
        if (!text) everything(item);
        continue;  // "NAME" alone has no value
      }
      const std::string_view view(*text);
      *text = std::string(view.substr(0, sign + 1)) + digest(view.substr(sign + 1));
    }
  }

  void argument_list(json::array& items) {
    bool next_is_secret = false;
    for (auto& item : items) {
      auto* text = item.if_string();
      if (!text) {
        any(item, Zone::kSettings);
        continue;
      }
      const std::string_view view(*text);
      const bool flag = view.size() > 1 && view[0] == '-' && view.find('=') == view.npos;
      const bool names_secret = flag && is_secret_name(view);
      if (std::exchange(next_is_secret, names_secret) && !names_secret) {
        *text = digest(view);
      } else {
        string(*text);
      }
    }
  }

  void create_options(json::object& members) {
    std::string whole;
    bool texts = true;
    for (int i = 0; i < kMaxChunks; ++i) {
      const auto* chunk = members.if_contains(chunk_name(i));
      if (!chunk) break;
      texts = texts && chunk->is_string();
      if (texts) whole += std::string_view(chunk->get_string());
    }
    for (int i = 1; i < kMaxChunks; ++i) {
      auto* chunk = members.if_contains(chunk_name(i));
      if (!chunk) continue;
      // All in the first one now. When the parts are not texts the document is refused, for the same reason
      // as before.
      if (texts) {
        members.erase(chunk_name(i));
      } else {
        everything(*chunk);
      }
    }
    auto* found = members.if_contains("createOptions");
    if (!found) return;
    auto& first = *found;
    if (!texts) {
      return first.is_object() ? any(first, Zone::kSettings) : everything(first);
    }
    const std::size_t begin = whole.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos || whole == "null") return;
    auto options = parse(whole);
    if (!options) {
      first = digest(whole);
      return;
    }
    any(*options, Zone::kSettings);
    first = json::serialize(*options);
  }

  const KeyedDigest& digests_;
};

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    static constexpr char kDigits[] = "0123456789ABCDEF";
    out += '%';
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

}  // namespace

Result<std::string> redact(std::string_view document, const KeyedDigest& digests) {
  if (document.size() > kMaxRedactBytes) return error(Errc::kTooLarge, "the document is too large");
  auto value = parse(document);
  if (!value) return value.error();
  json::value holder = json::object{{"document", std::move(*value)}};
  Redactor(digests).object(holder.get_object(), Redactor::Zone::kStructure);
  return json::serialize(holder.get_object()["document"]);
}

std::vector<std::size_t> find_secrets(std::string_view text, const std::vector<std::string>& secrets) {
  constexpr std::size_t kShortestBytes = 4;
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < secrets.size(); ++i) {
    const auto& secret = secrets[i];
    if (secret.size() < kShortestBytes) continue;
    const std::string quoted = json::serialize(json::string(secret));
    const std::string forms[] = {secret, quoted.substr(1, quoted.size() - 2), percent_encoded(secret),
                                 to_base64(secret), to_hex(secret)};
    if (std::any_of(std::begin(forms), std::end(forms),
                    [&](const auto& form) { return text.find(form) != text.npos; })) {
      found.push_back(i);
    }
  }
  return found;
}

}  // namespace decklog::workload
