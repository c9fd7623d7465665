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

// Once at first, then at most once in kSameRemarkEvery and with how many there were; what a burst leaves is
// said when that time is over.
class Remarks final {
 public:
  Remarks(HubLog& log, loop::Surroundings& surroundings) : log_(log), surroundings_(surroundings) {}
  void say(const std::string& topic, const std::string& subject, std::string text) {
    const MonoTime now = surroundings_.now().mono;
    if (said_.size() >= kMaxRemembered) flush();
    auto [at, fresh] = said_.try_emplace({topic, subject});
    Said& said = at->second;
    if (!fresh && now - said.at < kSameRemarkEvery) {
      said.last = std::move(text);
      ++said.more;
      return;
    }
    if (said.more > 0) text += " (and " + std::to_string(said.more) + " more like it before)";
    said = {now, 0, {}};
    log_.note(Remarked{topic, subject, std::move(text)});
  }
  void tick() {
    const MonoTime now = surroundings_.now().mono;
    for (auto at = said_.begin(); at != said_.end();) {
      if (now - at->second.at < kSameRemarkEvery) {
        ++at;
        continue;
      }
      tell_rest(*at);
      at = said_.erase(at);
    }
  }
  void flush() {
    for (auto& entry : said_) tell_rest(entry);
    said_.clear();
  }

 private:
  struct Said {
    MonoTime at;
    std::uint64_t more = 0;  // not said
    std::string last;        // of them
  };
  using Entry = std::pair<const std::pair<std::string, std::string>, Said>;
  void tell_rest(Entry& entry) {
    auto& [name, said] = entry;
    if (said.more == 0) return;
    if (said.more > 1) said.last += " (and " + std::to_string(said.more - 1) + " more like it before)";
    log_.note(Remarked{name.first, name.second, std::move(said.last)});
  }

  HubLog& log_;
  loop::Surroundings& surroundings_;
  std::map<std::pair<std::string, std::string>, Said> said_;
};

}  // namespace decklog::hub
