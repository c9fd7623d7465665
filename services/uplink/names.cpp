#include "services/uplink/names.hpp"

#include <array>

namespace decklog::uplink {
namespace {

constexpr std::string_view kTwinsPrefix = "$KV.decklog_twins.";
constexpr std::string_view kIdentitiesPrefix = "$KV.decklog_identities.";
constexpr std::string_view kDeviceToken = "_device";
constexpr std::string_view kHex = "0123456789ABCDEF";

bool plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

void append_hex(std::string& out, char mark, char c) {
  const auto byte = static_cast<unsigned char>(c);
  out += mark;
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Result<std::string> decode_marked(std::string_view text, char mark) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != mark) {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      return error(Errc::kMalformed, "not two hexadecimal digits after the escape mark");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t start = 0;;) {
    const std::size_t dot = text.find('.', start);
    parts.push_back(text.substr(start, dot == std::string_view::npos ? dot : dot - start));
    if (dot == std::string_view::npos) return parts;
    start = dot + 1;
  }
}

Result<TwinKey> key_of(std::string_view device, std::string_view module) {
  auto device_id = unescape_token(device);
  if (!device_id) return device_id.error();
  auto module_id = module_of(module);
  if (!module_id) return module_id.error();
  return TwinKey{std::move(*device_id), std::move(*module_id)};
}

}  // namespace

std::string escape_token(std::string_view id) {
  std::string out;
  for (const char c : id) {
    if (plain(c) && !(c == '_' && out.empty())) {
      out += c;
    } else {
      append_hex(out, '=', c);
    }
  }
  return out;
}

Result<std::string> unescape_token(std::string_view token) {
  return decode_marked(token, '=');
}

std::string module_token(std::string_view module) {
  if (module.empty()) return std::string(kDeviceToken);
  if (module == "$edgeAgent") return "_agent";
  if (module == "$edgeHub") return "_hub";
  return escape_token(module);
}

Result<std::string> module_of(std::string_view token) {
  if (token == kDeviceToken) return std::string();
  if (token == "_agent") return std::string("$edgeAgent");
  if (token == "_hub") return std::string("$edgeHub");
  if (token.empty() || token.front() == '_') return error(Errc::kMalformed, "not the name of a module");
  return unescape_token(token);
}

Status check_key(const TwinKey& key) {
  if (key.device.empty()) return error(Errc::kInvalidArgument, "the device id is empty");
  if (key.device.size() > kMaxIdBytes) return error(Errc::kInvalidArgument, "the device id is too long");
  if (key.module.size() > kMaxIdBytes) return error(Errc::kInvalidArgument, "the module id is too long");
  return {};
}

std::string twin_subject(const TwinKey& key, TwinPart part) {
  return std::string(kTwinsPrefix) + escape_token(key.device) + '.' + module_token(key.module) +
         (part == TwinPart::kDesired ? ".desired" : ".reported");
}

std::string desired_filter(std::string_view device) {
  return std::string(kTwinsPrefix) + escape_token(device) + ".*.desired";
}

Result<TwinKey> key_of_twin_subject(std::string_view subject) {
  if (!subject.starts_with(kTwinsPrefix)) return error(Errc::kMalformed, "not a key of the twins bucket");
  const auto parts = split(subject.substr(kTwinsPrefix.size()));
  if (parts.size() != 3) return error(Errc::kMalformed, "not the key of a twin document");
  return key_of(parts[0], parts[1]);
}

std::string identity_subject(const TwinKey& key) {
  std::string subject = std::string(kIdentitiesPrefix) + escape_token(key.device);
  if (!key.module.empty()) subject += '.' + module_token(key.module);
  return subject;
}

Result<TwinKey> key_of_identity_subject(std::string_view subject) {
  if (!subject.starts_with(kIdentitiesPrefix))
    return error(Errc::kMalformed, "not a key of the identities bucket");
  const auto parts = split(subject.substr(kIdentitiesPrefix.size()));
  if (parts.size() > 2) return error(Errc::kMalformed, "not the key of an identity");
  return key_of(parts[0], parts.size() == 2 ? parts[1] : kDeviceToken);
}

std::string telemetry_subject(const Telemetry& message) {
  return "decklog.telemetry." + escape_token(message.device) + '.' +
         (message.module.empty() ? "_" : module_token(message.module)) + '.' +
         (message.output.empty() ? "_" : escape_token(message.output));
}

std::string events_subject(std::string_view device, std::string_view service) {
  return "decklog.events." + escape_token(device) + '.' + escape_token(service);
}

std::string cloud_subject(std::string_view device) {
  return "decklog.c2d." + escape_token(device);
}

std::string method_filter(const TwinKey& key) {
  return "decklog.method." + escape_token(key.device) + '.' + module_token(key.module) + ".*";
}

std::string method_subject(const TwinKey& key, std::string_view method) {
  return "decklog.method." + escape_token(key.device) + '.' + module_token(key.module) + '.' +
         escape_token(method);
}

std::string telemetry_id(std::string_view sender, std::uint64_t epoch, std::uint64_t sequence) {
  return escape_token(sender) + '/' + std::to_string(epoch) + '/' + std::to_string(sequence);
}

std::string event_id(std::string_view sender, const Uplink::MirroredEvent& event) {
  return escape_token(sender) + '/' + escape_token(event.service) + '/' + std::to_string(event.epoch) + '/' +
         std::to_string(event.sequence);
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (plain(c) || c == '.' || c == '~') {
      out += c;
    } else {
      append_hex(out, '%', c);
    }
  }
  return out;
}

Result<std::string> percent_decode(std::string_view text) {
  return decode_marked(text, '%');
}

std::string inbox_prefix(std::string_view device) {
  return "_INBOX." + escape_token(device);
}

Permissions device_permissions(std::string_view device) {
  const std::string id = escape_token(device);
  const std::string twins = "$KV.decklog_twins." + id;
  const std::string identities = "$KV.decklog_identities." + id;
  const std::string inbox = inbox_prefix(device) + ".>";
  Permissions out;
  out.publish = {
      "decklog.telemetry." + id + ".>",
      "decklog.events." + id + ".>",
      twins + ".*.reported",
      "$JS.API.DIRECT.GET.KV_decklog_twins." + twins + ".>",
      "$JS.API.DIRECT.GET.KV_decklog_identities." + identities,
      "$JS.API.DIRECT.GET.KV_decklog_identities." + identities + ".>",
      "$JS.API.CONSUMER.CREATE.KV_decklog_twins.*." + twins + ".>",
      "$JS.API.CONSUMER.CREATE.KV_decklog_identities.*." + identities,
      "$JS.API.CONSUMER.CREATE.KV_decklog_identities.*." + identities + ".>",
      "$JS.API.CONSUMER.CREATE.DECKLOG_C2D.c2d_" + id + "." + cloud_subject(device),
      "$JS.API.CONSUMER.MSG.NEXT.DECKLOG_C2D.c2d_" + id,
      "$JS.ACK.DECKLOG_C2D.c2d_" + id + ".>",
      "$JS.API.STREAM.INFO.DECKLOG_TELEMETRY",
      inbox,
  };
  out.subscribe = {inbox, "decklog.method." + id + ".>"};
  return out;
}

}  // namespace decklog::uplink
