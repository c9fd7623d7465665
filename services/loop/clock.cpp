#include "services/loop/clock.hpp"

#include <sys/random.h>
#include <sys/timex.h>
#include <time.h>

#include <fstream>

namespace decklog::loop {
namespace {

std::int64_t read_clock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return std::int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

Instant SystemSurroundings::now() {
  return {{read_clock(CLOCK_REALTIME)}, {read_clock(CLOCK_BOOTTIME)}};
}

std::uint64_t SystemSurroundings::random() {
  std::uint64_t draw = 0;
  while (getrandom(&draw, sizeof draw, 0) != sizeof draw) {
  }
  return draw;
}

ClockState SystemSurroundings::clock_state() {
  timex state{};
  const int answer = adjtimex(&state);
  return answer != TIME_ERROR && !(state.status & STA_UNSYNC) ? ClockState::kSynced : ClockState::kUnsynced;
}

BootId SystemSurroundings::boot() {
  if (boot_.empty()) {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::getline(file, boot_.value);
  }
  return boot_;
}

}  // namespace decklog::loop
