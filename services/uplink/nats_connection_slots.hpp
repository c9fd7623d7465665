// Who a callback of nats.c is for. Private to nats_connection.cpp.
//
// nats.c calls back with a bare pointer, possibly after the connection was destroyed. The pointer is a number
// in this table; a number that is gone is a call that came too late. A slot is locked while its handler runs,
// so that after remove() no handler runs.
#pragma once

#include <nats/nats.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

namespace decklog::uplink {

struct Slot {
  std::mutex mutex;
  std::function<void(natsMsg*)> on_message;
  std::function<void(natsConnection*)> on_closed;
  std::function<void(natsConnection*, natsStatus)> on_error;
};

class Slots {
 public:
  static Slots& instance() {
    static Slots* slots = new Slots;  // outlives nats.c's threads, which end after main
    return *slots;
  }
  std::uint64_t add(std::shared_ptr<Slot> slot) {
    const std::lock_guard lock(mutex_);
    slots_[++last_] = std::move(slot);
    return last_;
  }
  void remove(std::uint64_t id) {
    std::shared_ptr<Slot> slot;
    {
      const std::lock_guard lock(mutex_);
      const auto found = slots_.find(id);
      if (found == slots_.end()) return;
      slot = std::move(found->second);
      slots_.erase(found);
    }
    const std::lock_guard lock(slot->mutex);
    slot->on_message = nullptr;
    slot->on_closed = nullptr;
    slot->on_error = nullptr;
  }
  std::shared_ptr<Slot> find(void* closure) {
    const std::lock_guard lock(mutex_);
    const auto found = slots_.find(reinterpret_cast<std::uintptr_t>(closure));
    return found == slots_.end() ? nullptr : found->second;
  }

 private:
  std::mutex mutex_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Slot>> slots_;
};

}  // namespace decklog::uplink
