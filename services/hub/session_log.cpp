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

bool not_taken(std::string_view cause) {
  return cause == "publish-not-accepted" || cause == "store-full" || cause == "store-failed";
}

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
  if (storms_.allow(name, surroundings_.now().mono))
    log_.observe(name, "connect", "reconnect-storm", peer, "");
  if (!log_.storming(name)) return true;
  put_off(name, peer, present_peer);
  return false;
}

bool SessionLog::arrived(const std::string& name, const std::string& peer, const std::string& present_peer) {
  if (arrives_quietly(name)) return true;
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
  if (const auto burst = bursts_.find(name); burst != bursts_.end()) burst->second.arriving = false;
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
  if (const auto found = bursts_.find(name); found != bursts_.end() && found->second.arriving) {
    auto& burst = found->second;
    burst.arriving = false;
    burst.here = true;
    burst.persistent = persistent;
    burst.peer = peer;
    burst.since = surroundings_.now().mono;
    return;
  }
  log_.observe(name, "authenticated", "", peer, persistent ? "persistent" : "clean");
}

void SessionLog::gone(const std::string& name, std::string_view cause, const std::string& peer) {
  ++counters(name).disconnects;
  if (goes_quietly(name, cause)) return;
  count_cut(name, cause);
  const bool named = cause == "disconnect" || cause == "taken-over" || cause == "disabled";
  // A newer connection of the same client may be on its way in: its arrival is already written.
  if (cause != "taken-over") admitted_.erase(name);
  log_.observe(name, named ? std::string(cause) : "lost", std::string(cause), peer, "");
}

void SessionLog::session_ended(const std::string& name, std::string_view why) {
  if (why == "expired") log_.observe(name, "ended", std::string(why), "", "");
}

// ---- clients whose messages are not taken

bool SessionLog::arrives_quietly(const std::string& name) {
  const auto found = bursts_.find(name);
  if (found == bursts_.end()) return false;
  if (found->second.cuts >= kCutsWritten && quiet_.allow(name, surroundings_.now().mono))
    return found->second.arriving = true;
  if (found->second.here) write_down(name, found->second);
  return false;
}

bool SessionLog::goes_quietly(const std::string& name, std::string_view cause) {
  const auto found = bursts_.find(name);
  if (found == bursts_.end()) return false;
  Burst& burst = found->second;
  const bool cut = not_taken(cause);
  if (burst.here && (cut || (cause == "taken-over" && burst.arriving))) {
    burst.here = false;
    burst.cut = surroundings_.now().mono;
    if (cut) burst.cause = cause;
    ++burst.more;
    return true;
  }
  if (burst.here) {
    write_down(name, burst);
    return false;
  }
  return std::exchange(burst.arriving, false);  // gone before its CONNACK, and nothing of it was written
}

void SessionLog::count_cut(const std::string& name, std::string_view cause) {
  if (!not_taken(cause) || (bursts_.size() >= kMaxRemembered && !bursts_.contains(name))) return;
  Burst& burst = bursts_[name];
  const MonoTime now = surroundings_.now().mono;
  if (burst.cuts++ == 0) burst.told = now;
  burst.cut = now;
  burst.cause = cause;
}

// What was kept back about where it is.
void SessionLog::write_down(const std::string& name, Burst& burst) {
  tell(name, burst);
  burst.here = false;
  log_.observe(name, "connect", "", burst.peer, "");
  log_.observe(name, "authenticated", "", burst.peer, burst.persistent ? "persistent" : "clean");
}

void SessionLog::tell(const std::string& name, Burst& burst) {
  burst.told = surroundings_.now().mono;
  if (burst.more == 0) return;
  log_.note(Remarked{"clients", name,
                     "came back and was cut off " + std::to_string(std::exchange(burst.more, 0)) +
                         " more times: " + burst.cause});
}

void SessionLog::tick_bursts(MonoTime now) {
  for (auto at = bursts_.begin(); at != bursts_.end();) {
    auto& [name, burst] = *at;
    const bool stays = burst.here && now - burst.since >= kBackForGood;
    const bool away = !burst.here && now - burst.cut >= kSameRemarkEvery;
    if (stays) write_down(name, burst);
    if (stays || away || now - burst.told >= kSameRemarkEvery) tell(name, burst);
    at = stays || away ? bursts_.erase(at) : std::next(at);
  }
}

void SessionLog::tick() {
  const MonoTime now = surroundings_.now().mono;
  tick_bursts(now);
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
