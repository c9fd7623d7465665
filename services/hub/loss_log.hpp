// Lost messages as events, with route, queue, reason, number and range, but not an event for each: a route
// that nobody wants must not fill the log and wear the disk. The first of its kind is written at once; what
// follows within kLossPause is one event at its end. Private to services/hub. Thread: the executor's.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "persistence/message_store_types.hpp"
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

 private:
  struct Kind {
    MessagesDropped waiting;  // count 0 = nothing
    MonoTime written;
  };
  void write(Kind& kind, MonoTime now);

  HubLog& log_;
  std::map<std::tuple<std::string, std::string, std::string>, Kind> kinds_;  // (route, queue, reason)
};

}  // namespace decklog::hub
