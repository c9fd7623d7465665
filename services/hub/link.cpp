#include "services/hub/link.hpp"

namespace decklog::hub {

namespace sm = statemachines;

namespace {
constexpr auto kReportPause = std::chrono::milliseconds(500);
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
      pulse_(executor, uplink, state_.uplink, state_.uplink_settings.ping_every,
             [this](Fact fact) { loop_.submit(std::move(fact)); }) {}

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
  if (has(sm::kPing)) pulse_.ping();
  if (has(sm::kLinkDown)) {
    up_ = false;
    pulse_.rest();
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
