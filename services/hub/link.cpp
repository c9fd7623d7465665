#include "services/hub/link.hpp"

namespace decklog::hub {

namespace sm = statemachines;

namespace {
constexpr auto kReportPause = std::chrono::milliseconds(500);
constexpr Duration kPingTimeout = std::chrono::seconds(5);
constexpr const char* kModule = "$edgeHub";
}  // namespace

HubLink::HubLink(boost::asio::any_io_executor executor, loop::ServiceLoop& loop, const HubState& state,
                 loop::Timers& timers, uplink::Uplink& uplink, std::string device, Hooks hooks)
    : loop_(loop),
      state_(state),
      timers_(timers),
      uplink_(uplink),
      device_(std::move(device)),
      hooks_(std::move(hooks)),
      pause_(executor),
      next_ping_(executor) {}

void HubLink::on_link(const uplink::LinkEvent& event) {
  loop_.submit(LinkObserved{static_cast<std::uint8_t>(event.change), static_cast<std::uint8_t>(event.cause),
                            event.detail.substr(0, 500)});
}

void HubLink::carry_out(const UplinkTransitioned& decision) {
  const auto has = [&](std::uint32_t effect) { return (decision.effects & effect) != 0; };
  if (has(sm::kCancelUplinkTimer)) timers_.cancel("uplink");
  if (has(sm::kArmUplinkTimer)) timers_.arm("uplink", {decision.life.deadline_mono_ns});
  if (has(sm::kDisconnect)) uplink_.disconnect();
  if (has(sm::kConnect)) uplink_.connect();
  if (has(sm::kPing)) ping();
  if (has(sm::kLinkDown)) {
    up_ = false;
    next_ping_.cancel();
    hooks_.on_change(false);
  }
  if (has(sm::kLinkUp)) {
    up_ = true;
    last_sent_.clear();
    uplink_.watch_desired({device_, kModule});
    uplink_.watch_identities(device_);
    uplink_.accept_methods({device_, kModule});
    hooks_.on_change(true);
    consider_report();
  }
}

void HubLink::ping() {
  uplink_.ping(kPingTimeout, [this](Status answered) {
    const auto missed = static_cast<std::uint8_t>(uplink::LinkCause::kPingMissed);
    loop_.submit(
        LinkObserved{0, answered ? std::uint8_t{0} : missed, answered ? "" : describe(answered.error())});
  });
}

void HubLink::on_timer() {
  healthy() ? ping_on() : loop_.submit(TimerFired{"uplink"});
}

// While the link is suspect the machine's own timer asks; it is armed for us again when that is over.
void HubLink::ping_on() {
  ping();
  next_ping_.expires_after(state_.uplink_settings.ping_every);
  next_ping_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && healthy()) ping_on();
  });
}

void HubLink::consider_report() {
  if (!up_ || scheduled_) return;
  if (sending_) {
    again_ = true;
    return;
  }
  scheduled_ = true;
  pause_.expires_after(kReportPause);
  pause_.async_wait([this](boost::system::error_code cancelled) {
    scheduled_ = false;
    if (!cancelled) report();
  });
}

void HubLink::report() {
  if (!up_ || sending_) return;
  std::string document = hooks_.reported();
  if (document.empty() || document == last_sent_) return;
  sending_ = true;
  again_ = false;
  const std::uint64_t through = state_.through.value;
  uplink_.put_reported({device_, kModule}, document, std::nullopt,
                       [this, document, through](Result<std::uint64_t> revision) {
                         sending_ = false;
                         if (revision) {
                           last_sent_ = document;
                           loop_.submit(ReportAcknowledged{through, *revision, "", 0, ""});
                         }
                         if (again_ || !revision) consider_report();
                       });
}

}  // namespace decklog::hub
