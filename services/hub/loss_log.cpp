#include "services/hub/loss_log.hpp"

#include <algorithm>
#include <utility>

namespace decklog::hub {
namespace {

constexpr std::string_view kSinceThen = "since";  // its count is not 0 once something is remembered

std::string told_name(const std::string& route, const std::string& reason) {
  return "r" + route + '\n' + reason;
}

}  // namespace

void LossLog::add(const persistence::Loss& loss, MonoTime now) {
  if (kinds_.size() >= kMaxLossKinds) {
    flush();
    kinds_.clear();
  }
  auto [at, fresh] = kinds_.try_emplace({loss.route, loss.queue, loss.reason});
  auto& [waiting, written] = at->second;
  if (waiting.count == 0)
    waiting = {loss.route, loss.queue, loss.reason, 0, loss.first.value, loss.last.value};
  waiting.count += loss.count;
  waiting.first = std::min(waiting.first, loss.first.value);
  waiting.last = std::max(waiting.last, loss.last.value);
  if (fresh || now - written >= kLossPause) write(at->second, now);
}

void LossLog::write(Kind& kind, MonoTime now) {
  tell(std::exchange(kind.waiting, {}));
  kind.written = now;
}

void LossLog::tell(MessagesDropped fact) {
  if (told_ != nullptr) told_->add(told_name(fact.route, fact.reason), fact.count);
  log_.note(std::move(fact));
}

void LossLog::compare(const std::vector<persistence::RouteStatus>& routes) {
  if (told_ == nullptr) return;
  std::map<std::pair<std::string, std::string>, std::uint64_t> lost;
  for (const auto& route : routes) {
    if (route.counters.expired > 0) lost[{route.name, "expired"}] += route.counters.expired;
    for (const auto& drop : route.dropped) lost[{route.name, drop.reason}] += drop.count;
  }
  const bool first = told_->count(kSinceThen) == 0;
  if (first) told_->add(kSinceThen);
  for (const auto& [name, kind] : kinds_) {
    const auto found = lost.find({kind.waiting.route, kind.waiting.reason});
    if (found != lost.end()) found->second -= std::min(found->second, kind.waiting.count);
  }
  for (const auto& [name, count] : lost) {
    const auto& [route, reason] = name;
    // What was found damaged is told by the run that finds it.
    const std::string known = told_name(route, reason);
    const std::uint64_t told = told_->count(known);
    if (count <= told || reason == "damaged" || known.size() > persistence::kMaxNameBytes) continue;
    if (first) {
      told_->add(known, count - told);
    } else {
      tell({route, "", reason, count - told, 0, 0});
    }
  }
}

void LossLog::tick(MonoTime now) {
  for (auto at = kinds_.begin(); at != kinds_.end();) {
    auto& kind = at->second;
    if (now - kind.written < kLossPause) {
      ++at;
    } else if (kind.waiting.count != 0) {
      write(kind, now);
      ++at;
    } else {
      at = kinds_.erase(at);
    }
  }
}

void LossLog::flush() {
  for (auto& [name, kind] : kinds_) {
    if (kind.waiting.count != 0) write(kind, kind.written);
  }
}

}  // namespace decklog::hub
