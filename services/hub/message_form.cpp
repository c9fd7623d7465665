#include "services/hub/message_form.hpp"

#include <array>

namespace decklog::hub {
namespace {

void put_text(std::string& out, std::string_view text) {
  for (int i = 0; i < 4; ++i) out += static_cast<char>(text.size() >> (8 * i));
  out += text;
}

bool take_text(std::string_view& in, std::string& out) {
  if (in.size() < 4) return false;
  std::size_t size = 0;
  for (int i = 3; i >= 0; --i) size = size << 8 | static_cast<unsigned char>(in[static_cast<std::size_t>(i)]);
  in.remove_prefix(4);
  if (size > in.size()) return false;
  out = in.substr(0, size);
  in.remove_prefix(size);
  return true;
}

// System properties on the wire and in conditions.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kSystemNames{
    {{"$.mid", "messageId"},
     {"$.cid", "correlationId"},
     {"$.uid", "userId"},
     {"$.to", "to"},
     {"$.ct", "contentType"},
     {"$.ce", "contentEncoding"},
     {"$.exp", "absoluteExpiryTime"},
     {"$.ctime", "creationTimeUtc"},
     {"$.schema", "messageSchema"}}};

}  // namespace

std::string encode_head(const Ingest& message) {
  std::string out(1, message.twin_change ? '\2' : '\1');
  put_text(out, message.sender.device);
  put_text(out, message.sender.module);
  put_text(out, message.output);
  for (const auto& [name, value] : message.properties) {
    put_text(out, name);
    put_text(out, value);
  }
  return out;
}

Result<Ingest> decode_head(std::string_view head, std::string_view body) {
  Ingest message;
  if (head.empty() || (head[0] != '\1' && head[0] != '\2'))
    return error(Errc::kCorrupt, "stored message has an unknown form");
  message.twin_change = head[0] == '\2';
  head.remove_prefix(1);
  bool ok = take_text(head, message.sender.device) && take_text(head, message.sender.module) &&
            take_text(head, message.output);
  while (ok && !head.empty()) {
    auto& property = message.properties.emplace_back();
    ok = take_text(head, property.first) && take_text(head, property.second);
  }
  if (!ok) return error(Errc::kCorrupt, "stored message ends early");
  message.body = body;
  return message;
}

std::string source_of(const Ingest& message) {
  if (message.twin_change) return "/twinChangeNotifications";
  if (message.sender.module.empty()) return "/messages";
  const std::string module = "/messages/modules/" + message.sender.module;
  return message.output.empty() ? module : module + "/outputs/" + message.output;
}

RoutedView::RoutedView(const Ingest& message) : source_(source_of(message)) {
  for (const auto& [name, value] : message.properties) {
    bool system = false;
    for (const auto& [wire, known] : kSystemNames) {
      if (name != wire) continue;
      system_.push_back({known, value});
      system = true;
    }
    if (!system) application_.push_back({name, value});
  }
  system_.push_back({"connectionDeviceId", message.sender.device});
  if (!message.sender.module.empty()) system_.push_back({"connectionModuleId", message.sender.module});
  view_ = {source_, message.body, application_, system_};
}

}  // namespace decklog::hub
