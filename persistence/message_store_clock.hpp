// The clock that time to live counts on: a number of nanoseconds that never goes back and never jumps.
//
// The rule: while the device runs, it advances with CLOCK_BOOTTIME (steps of the wall clock do not matter,
// suspend counts). Over a power cut or reboot it advances by the difference of the wall clock readings before
// and after, if that is positive; a device that comes up with a wall clock behind its last reading (no
// battery clock) counts zero at first and adds the time off once, as soon as the wall clock has been set past
// the last reading. A message thus never expires early because of the clock; it may live longer by the time
// off if the clock is never set. Pure: instants and boot ids are arguments. The state is persisted with every
// commit group.
#pragma once

#include <cstdint>
#include <string>

#include "events/ids.hpp"
#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::persistence {

// Nanoseconds of store time since the store was made.
struct StoreTime {
  std::int64_t ns = 0;
  friend auto operator<=>(const StoreTime&, const StoreTime&) = default;
};

class ExpiryClock final {
 public:
  // A store that is new: begins at zero.
  ExpiryClock(const BootId& boot, Instant now);
  // A store that was used before: `saved` is what save() gave.
  static Result<ExpiryClock> restore(std::string_view saved, const BootId& boot, Instant now);

  // Call with the instant of each input; returns the time now.
  StoreTime advance(Instant now);
  StoreTime now() const { return now_; }
  // The time off of the last power cut is not known yet (wall clock behind).
  bool waiting_for_wall_clock() const { return owed_; }
  std::string save() const;

 private:
  ExpiryClock() = default;

  StoreTime now_;
  Instant reference_;  // of now_
  std::string boot_;
  bool owed_ = false;
  WallTime off_since_;       // wall reading before the power cut, while owed_
  std::int64_t run_ns_ = 0;  // store time counted since this boot's first reading, while owed_
};

}  // namespace decklog::persistence
