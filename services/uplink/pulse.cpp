#include "services/uplink/pulse.hpp"

namespace decklog::uplink {

namespace {
constexpr Duration kAnswerTimeout = std::chrono::seconds(5);
}

Pulse::Pulse(boost::asio::any_io_executor executor, Uplink& uplink, Hooks hooks)
    : uplink_(uplink), hooks_(std::move(hooks)), next_(std::move(executor)) {}

void Pulse::ping() {
  uplink_.ping(kAnswerTimeout, [this](Status answered) {
    const auto missed = static_cast<std::uint8_t>(LinkCause::kPingMissed);
    hooks_.submit(
        LinkObserved{0, answered ? std::uint8_t{0} : missed, answered ? "" : describe(answered.error())});
  });
}

void Pulse::on_timer() {
  hooks_.healthy() ? ping_on() : hooks_.submit(TimerFired{"uplink"});
}

void Pulse::rest() {
  next_.cancel();
}

void Pulse::ping_on() {
  ping();
  next_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(hooks_.interval()));
  next_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && hooks_.healthy()) ping_on();
  });
}

}  // namespace decklog::uplink
