// Says things once per burst. Private to services/hub. Thread: the executor's.
#pragma once

#include <map>
#include <string>

#include "services/hub/head_limits.hpp"
#include "services/hub/parts.hpp"
#include "services/loop/clock.hpp"

namespace decklog::hub {

// How often something may happen for each of a bounded number of names.
class Rate final {
 public:
  Rate(Duration window, int most) : window_(window), most_(most) {}
  bool allow(const std::string& name, MonoTime now) {
    if (seen_.size() >= kMaxRemembered && !seen_.contains(name)) forget(now);
    auto [at, fresh] = seen_.try_emplace(name);
    if (fresh || now - at->second.start >= window_) at->second = {now, 0, at->second.suppressed};
    if (++at->second.count <= most_) return true;
    ++at->second.suppressed;
    return false;
  }
  // How many were not allowed since this was asked last.
  std::uint64_t take_suppressed(const std::string& name) {
    const auto found = seen_.find(name);
    return found == seen_.end() ? 0 : std::exchange(found->second.suppressed, 0);
  }

 private:
  struct Entry {
    MonoTime start;
    int count = 0;
    std::uint64_t suppressed = 0;
  };
  void forget(MonoTime now) {
    std::erase_if(seen_, [&](const auto& entry) { return now - entry.second.start >= window_; });
    if (seen_.size() >= kMaxRemembered) seen_.clear();
  }
  Duration window_;
  int most_;
  std::map<std::string, Entry> seen_;
};

class Remarks final {
 public:
  Remarks(HubLog& log, loop::Surroundings& surroundings) : log_(log), surroundings_(surroundings) {}
  void say(std::string topic, const std::string& subject, std::string text) {
    const std::string name = topic + '\n' + subject;
    if (!rate_.allow(name, surroundings_.now().mono)) return;
    const auto more = rate_.take_suppressed(name);
    if (more > 0) text += " (and " + std::to_string(more) + " more like it before)";
    log_.note(Remarked{std::move(topic), subject, std::move(text)});
  }

 private:
  HubLog& log_;
  loop::Surroundings& surroundings_;
  Rate rate_{kSameRemarkEvery, 1};
};

}  // namespace decklog::hub
