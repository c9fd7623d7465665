#include "persistence/message_store_clock.hpp"

#include "persistence/message_store_bytes.hpp"

namespace decklog::persistence {
namespace {

constexpr std::int64_t kBound = std::int64_t{1} << 62;  // nanoseconds: 146 years, the wall clock in 2116

// Stays at the bound: what expires later than that never does.
std::int64_t add(std::int64_t time, std::int64_t elapsed) {
  return elapsed < kBound - 1 - time ? time + elapsed : kBound - 1;
}

}  // namespace

ExpiryClock::ExpiryClock(const BootId& boot, Instant now) : reference_(now), boot_(boot.value) {}

Result<ExpiryClock> ExpiryClock::restore(std::string_view saved, const BootId& boot, Instant now) {
  ByteReader in(saved);
  ExpiryClock clock;
  clock.now_.ns = static_cast<std::int64_t>(in.fixed64());
  clock.reference_.wall.ns = static_cast<std::int64_t>(in.fixed64());
  clock.reference_.mono.ns = static_cast<std::int64_t>(in.fixed64());
  clock.owed_ = in.byte() != 0;
  clock.off_since_.ns = static_cast<std::int64_t>(in.fixed64());
  clock.run_ns_ = static_cast<std::int64_t>(in.fixed64());
  clock.boot_ = std::string(in.text());
  // Bounds keep every sum below in range: the differences of such values fit.
  const auto counted = [](std::int64_t ns) { return ns >= 0 && ns < kBound; };
  const auto read = [](std::int64_t ns) { return ns > -kBound && ns < kBound; };
  if (!in.ok() || !counted(clock.now_.ns) || !counted(clock.reference_.mono.ns) || !counted(clock.run_ns_) ||
      !read(clock.reference_.wall.ns) || !read(clock.off_since_.ns)) {
    return error(Errc::kCorrupt, "the saved expiry clock cannot be read");
  }
  if (clock.boot_ == boot.value) {
    clock.advance(now);
    return clock;
  }
  // An older debt that was never paid stays part of the new one: off_since_ is kept.
  if (!clock.owed_) {
    clock.off_since_ = clock.reference_.wall;
    clock.run_ns_ = 0;
  }
  clock.owed_ = true;
  clock.boot_ = boot.value;
  clock.reference_ = now;
  clock.advance(now);
  return clock;
}

StoreTime ExpiryClock::advance(Instant now) {
  const std::int64_t elapsed = now.mono.ns - reference_.mono.ns;
  if (elapsed > 0) {
    now_.ns = add(now_.ns, elapsed);
    if (owed_) run_ns_ = add(run_ns_, elapsed);
  }
  reference_ = {now.wall, elapsed > 0 ? now.mono : reference_.mono};
  if (owed_) {
    // What the wall clock says has passed since the last reading before the cut, less what was counted since.
    const std::int64_t off = now.wall.ns - off_since_.ns - run_ns_;
    if (off >= 0) {
      now_.ns = add(now_.ns, off);
      owed_ = false;
      run_ns_ = 0;
    }
  }
  return now_;
}

std::string ExpiryClock::save() const {
  std::string out;
  put_fixed64(out, static_cast<std::uint64_t>(now_.ns));
  put_fixed64(out, static_cast<std::uint64_t>(reference_.wall.ns));
  put_fixed64(out, static_cast<std::uint64_t>(reference_.mono.ns));
  out.push_back(owed_ ? 1 : 0);
  put_fixed64(out, static_cast<std::uint64_t>(off_since_.ns));
  put_fixed64(out, static_cast<std::uint64_t>(run_ns_));
  put_text(out, boot_);
  return out;
}

}  // namespace decklog::persistence
