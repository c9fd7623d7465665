#include "services/hub/session_log.hpp"

#include "services/hub/head_rules.hpp"

namespace decklog::hub {

std::string client_name(std::string_view identity, std::string_view client_id) {
  std::string name(identity);
  if (!is_local(identity)) return name;
  name += '/';
  for (const char c : client_id) name += static_cast<unsigned char>(c) < ' ' ? '-' : c;
  return name;
}

namespace {

// Local clients choose their ids: counted by user.
std::string_view counted(std::string_view name) {
  const auto first = name.substr(0, name.find('/'));
  return is_local(first) ? first : name;
}

}  // namespace

HeadStats::Client& SessionLog::counters(const std::string& name) {
  return stats_.clients.at({counted(name)});
}

bool SessionLog::may_try(const std::string& name, const std::string& peer, const std::string& present_peer) {
  if (!log_.storming(name)) return true;
  // The machine must hear of one now and then, or it would never see the storm end.
  if (written_.allow(name, surroundings_.now().mono))
    log_.observe(name, "connect", "reconnect-storm", peer, "");
  if (!log_.storming(name)) return true;
  put_off(name, peer, present_peer);
  return false;
}

bool SessionLog::arrived(const std::string& name, const std::string& peer, const std::string& present_peer) {
  log_.observe(name, "connect", "", peer, "");
  if (log_.storming(name)) {
    put_off(name, peer, present_peer);
    return false;
  }
  admitted_[name] = surroundings_.now().mono;
  return true;
}

void SessionLog::put_off(const std::string& name, const std::string& peer, const std::string& present_peer) {
  ++stats_.connect_failed.at({"reconnect-storm", counted(name)});
  ++counters(name).connects_refused;
  std::string text = "connects too often, from " + peer;
  if (!present_peer.empty() && present_peer != peer) text += " and " + present_peer;
  remarks_.say("clients", name, text + ": told to come back later");
}

void SessionLog::refused(const std::string& name, bool known, const std::string& cause,
                         const std::string& peer) {
  ++stats_.connect_failed.at({cause, known ? counted(name) : ""});
  if (!known) {
    const std::string who = "\"" + name.substr(0, 128) + "\" from " + peer;
    return remarks_.say("auth", "unknown client", "refused, " + cause + ": " + who);
  }
  ++counters(name).connects_refused;
  const bool admitted = admitted_.erase(name) > 0;
  if (!admitted) {
    if (!written_.allow(name, surroundings_.now().mono)) return;
    log_.observe(name, "connect", "", peer, "");
  }
  const auto more = written_.take_suppressed(name);
  log_.observe(name, "refused", cause, peer, more > 0 ? std::to_string(more) + " more before" : "");
}

void SessionLog::connected(const std::string& name, bool persistent, const std::string& peer) {
  admitted_.erase(name);
  ++counters(name).connects;
  log_.observe(name, "authenticated", "", peer, persistent ? "persistent" : "clean");
}

void SessionLog::gone(const std::string& name, std::string_view cause, const std::string& peer) {
  ++counters(name).disconnects;
  const bool named = cause == "disconnect" || cause == "taken-over" || cause == "disabled";
  // A newer connection of the same client may be on its way in: its arrival is already written.
  if (cause != "taken-over") admitted_.erase(name);
  log_.observe(name, named ? std::string(cause) : "lost", std::string(cause), peer, "");
}

void SessionLog::session_ended(const std::string& name, std::string_view why) {
  if (why == "expired") log_.observe(name, "ended", std::string(why), "", "");
}

void SessionLog::tick() {
  const MonoTime now = surroundings_.now().mono;
  for (auto at = admitted_.begin(); at != admitted_.end();) {
    if (now - at->second < kAdmittedWait) {
      ++at;
      continue;
    }
    log_.observe(at->first, "lost", "gone-before-connack", "", "");
    at = admitted_.erase(at);
  }
}

}  // namespace decklog::hub
