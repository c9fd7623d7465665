// The only place that reads clocks and draws random numbers for a core. Tests put their own in.
#pragma once

#include <cstdint>

#include "events/event.hpp"

namespace decklog::loop {

class Surroundings {
 public:
  virtual ~Surroundings() = default;
  virtual Instant now() = 0;  // wall, and CLOCK_BOOTTIME for mono
  virtual std::uint64_t random() = 0;
  virtual ClockState clock_state() = 0;  // whether the kernel says the wall clock is disciplined
  virtual BootId boot() = 0;             // /proc/sys/kernel/random/boot_id
};

class SystemSurroundings final : public Surroundings {
 public:
  Instant now() override;
  std::uint64_t random() override;
  ClockState clock_state() override;
  BootId boot() override;

 private:
  BootId boot_;  // cannot change while we run
};

}  // namespace decklog::loop
