#include "services/hub/reported_clients.hpp"

#include <algorithm>
#include <cstdio>

#include "services/hub/head_rules.hpp"

namespace decklog::hub {

namespace json = boost::json;

namespace {

// The fleet refuses a reported document above 32 KiB: those that are connected first, then who came or went
// last.
constexpr std::size_t kMaxReportedClients = 200;
constexpr std::size_t kMaxReportedClientBytes = 20 * 1024;

// Twin keys may not hold what ids may.
std::string twin_key(const std::string& id) {
  std::string key;
  for (const char c : id) {
    if (c == '.' || c == '$' || c == '#' || c == ' ' || c == '%') {
      char code[4];
      std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned char>(c));
      key += code;
    } else {
      key += c;
    }
  }
  return key;
}

}  // namespace

json::object reported_clients(const std::map<std::string, ClientRecord>& records) {
  using Entry = std::pair<std::string_view, const ClientRecord*>;
  const auto connected = [](const Entry& entry) {
    return entry.second->life.state == ClientState::kConnected;
  };
  std::vector<Entry> entries;
  for (const auto& [name, record] : records) {
    // Users of the local broker are no business of the fleet's.
    if (!is_local(std::string_view(name).substr(0, name.find('/')))) entries.emplace_back(name, &record);
  }
  std::stable_sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
    return connected(a) != connected(b) ? connected(a) : a.second->changed > b.second->changed;
  });
  json::object clients;
  std::size_t bytes = 0;
  for (const auto& entry : entries) {
    if (clients.size() == kMaxReportedClients || bytes > kMaxReportedClientBytes) break;
    const bool there = connected(entry);
    std::string key = twin_key(std::string(entry.first));
    bytes += key.size() + 90;
    clients[key] = json::object{
        {"status", there ? "Connected" : "Disconnected"},
        {there ? "lastConnectedTimeUtc" : "lastDisconnectedTimeUtc", to_rfc3339(entry.second->changed)}};
  }
  return clients;
}

}  // namespace decklog::hub
