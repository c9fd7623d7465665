// One deadline for each of many connections at the cost of two pointers: a hashed wheel, driven by one timer.
// A deadline further away than one turn of the wheel stays in its slot and is looked at once a turn.
// Owner: the engine; one thread. An entry must be cancelled (or destroyed) before its memory goes.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

namespace decklog::broker {

class WheelEntry {
 public:
  WheelEntry() : previous_(this), next_(this) {}
  ~WheelEntry() { unlink(); }
  WheelEntry(const WheelEntry&) = delete;
  WheelEntry& operator=(const WheelEntry&) = delete;
  bool armed() const { return next_ != this; }

 private:
  friend class TimerWheel;
  void unlink() {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = this;
  }
  WheelEntry* previous_;
  WheelEntry* next_;
  std::int64_t deadline_ = 0;
};

class TimerWheel final {
 public:
  static constexpr std::size_t kSlots = 256;

  void arm(WheelEntry& entry, std::int64_t deadline_tick) {
    entry.unlink();
    entry.deadline_ = deadline_tick > tick_ ? deadline_tick : tick_ + 1;
    link(entry, slots_[static_cast<std::size_t>(entry.deadline_) % kSlots]);
  }
  void cancel(WheelEntry& entry) { entry.unlink(); }

  // Calls `due(entry)` for every entry whose deadline has come; it may arm, cancel or destroy any entry.
  template <class Due>
  void advance(std::int64_t tick, Due due) {
    // After a long pause every slot is visited once, not once for every missed tick.
    auto first = tick_ + 1;
    if (tick - first >= static_cast<std::int64_t>(kSlots))
      first = tick - static_cast<std::int64_t>(kSlots) + 1;
    for (auto at = first; at <= tick; ++at) {
      auto& slot = slots_[static_cast<std::size_t>(at) % kSlots];
      WheelEntry pending;
      while (slot.next_ != &slot) {
        auto* entry = slot.next_;
        entry->unlink();
        link(*entry, pending);
      }
      while (pending.next_ != &pending) {
        auto* entry = pending.next_;
        entry->unlink();
        if (entry->deadline_ > tick) {
          link(*entry, slot);
        } else {
          tick_ = at;
          due(*entry);
        }
      }
    }
    tick_ = tick;
  }
  std::int64_t tick() const { return tick_; }

 private:
  static void link(WheelEntry& entry, WheelEntry& before) {
    entry.previous_ = before.previous_;
    entry.next_ = &before;
    before.previous_->next_ = &entry;
    before.previous_ = &entry;
  }

  std::array<WheelEntry, kSlots> slots_;
  std::int64_t tick_ = 0;
};

}  // namespace decklog::broker
