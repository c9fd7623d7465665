// Lost messages as events, with route, queue, reason, number and range, but not an event for each: a route
// that nobody wants must not fill the log and wear the disk. The first of its kind is written at once; what
// follows within kLossPause is one event at its end. What waits for that when the process dies is told by the
// next run: how much the log has told of is kept beside the store's own counters. Private to services/hub.
// Thread: the executor's.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "persistence/tally_store.hpp"
#include "services/hub/parts.hpp"

namespace decklog::hub {

inline constexpr Duration kLossPause = std::chrono::seconds(10);
inline constexpr std::size_t kMaxLossKinds = 1024;  // beyond: all that wait are written

class LossLog final {
 public:
  explicit LossLog(HubLog& log) : log_(log) {}
  void add(const persistence::Loss& loss, MonoTime now);
  void tick(MonoTime now);
  void flush();  // writes what waits
  // Before the first loss. Told: counts by told_name().
  void remember_in(persistence::TallyStore& told) { told_ = &told; }
  // Once, when every loss before has been added: what the counters have and the log has not. The first run
  // that remembers takes the counters as told.
  void compare(const std::vector<persistence::RouteStatus>& routes);

 private:
  struct Kind {
    MessagesDropped waiting;  // count 0 = nothing
    MonoTime written;
  };
  void write(Kind& kind, MonoTime now);
  void tell(MessagesDropped fact);

  HubLog& log_;
  persistence::TallyStore* told_ = nullptr;
  std::map<std::tuple<std::string, std::string, std::string>, Kind> kinds_;  // (route, queue, reason)
};

}  // namespace decklog::hub
