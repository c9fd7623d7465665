#include "services/hub/loss_log.hpp"

#include <algorithm>
#include <utility>

namespace decklog::hub {

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
  log_.note(std::exchange(kind.waiting, {}));
  kind.written = now;
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
