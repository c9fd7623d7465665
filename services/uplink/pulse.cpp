#include "services/uplink/pulse.hpp"

namespace decklog::uplink {

namespace {
constexpr Duration kAnswerTimeout = std::chrono::seconds(5);
}

Pulse::Pulse(boost::asio::any_io_executor executor, Uplink& uplink, const UplinkLife& life,
             const Duration& every, std::function<void(Fact)> submit)
    : uplink_(uplink), life_(life), every_(every), submit_(std::move(submit)), next_(std::move(executor)) {}

void Pulse::ping() {
  uplink_.ping(kAnswerTimeout, [this](Status answered) {
    const auto missed = static_cast<std::uint8_t>(LinkCause::kPingMissed);
    submit_(LinkObserved{0, answered ? std::uint8_t{0} : missed, answered ? "" : describe(answered.error())});
  });
}

void Pulse::on_timer() {
  healthy() ? ping_on() : submit_(TimerFired{"uplink"});
}

void Pulse::rest() {
  next_.cancel();
}

void Pulse::ping_on() {
  ping();
  next_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(every_));
  next_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && healthy()) ping_on();
  });
}

}  // namespace decklog::uplink
