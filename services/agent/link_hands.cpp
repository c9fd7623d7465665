#include "services/agent/link_hands.hpp"

#include "events/utf8.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::agent {

namespace asio = boost::asio;
namespace sm = statemachines;

namespace {

constexpr const char* kTimer = "uplink";
constexpr const char* kAgentModule = "$edgeAgent";

std::chrono::steady_clock::duration steady(Duration duration) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration);
}

}  // namespace

LinkHands::LinkHands(asio::any_io_executor executor, loop::ServiceLoop& loop, const AgentState& state,
                     loop::Surroundings& surroundings, loop::Timers& timers, uplink::Uplink& uplink,
                     LinkOptions options)
    : executor_(executor),
      loop_(loop),
      state_(state),
      surroundings_(surroundings),
      timers_(timers),
      uplink_(uplink),
      options_(std::move(options)),
      pause_(executor),
      heartbeat_(executor),
      pulse_(executor, uplink, state_.uplink, state_.settings.uplink.ping_every,
             [this](Fact fact) { loop_.submit(std::move(fact)); }) {}

void LinkHands::on_link(const uplink::LinkEvent& event) {
  loop_.submit(LinkObserved{static_cast<std::uint8_t>(event.change), static_cast<std::uint8_t>(event.cause),
                            std::string(beginning_of(well_formed(event.detail), 500))});
}

void LinkHands::carry_out(const UplinkTransitioned& decision) {
  const auto has = [&](std::uint32_t effect) { return (decision.effects & effect) != 0; };
  if (has(sm::kCancelUplinkTimer)) timers_.cancel(kTimer);
  if (has(sm::kArmUplinkTimer)) timers_.arm(kTimer, {decision.life.deadline_mono_ns});
  if (has(sm::kDisconnect)) uplink_.disconnect();
  if (has(sm::kConnect)) uplink_.connect();
  if (has(sm::kPing)) pulse_.ping();
  if (has(sm::kLinkDown)) {
    up_ = false;
    pulse_.rest();
    heartbeat_.cancel();
  }
  if (has(sm::kLinkUp)) {
    up_ = true;
    force_ = true;
    const uplink::TwinKey self{options_.device, kAgentModule};
    uplink_.watch_desired(self);
    uplink_.accept_methods(self);
    consider_report();
    arm_heartbeat();
  }
}

void LinkHands::arm_heartbeat() {
  heartbeat_.expires_after(steady(options_.heartbeat));
  heartbeat_.async_wait([this](boost::system::error_code cancelled) {
    if (cancelled) return;
    send_report(true);
    arm_heartbeat();
  });
}

void LinkHands::consider_report() {
  if (!up_ || scheduled_) return;
  if (sending_) {
    again_ = true;
    return;
  }
  scheduled_ = true;
  pause_.expires_after(steady(options_.report_pause));
  pause_.async_wait([this](boost::system::error_code cancelled) {
    scheduled_ = false;
    if (!cancelled) send_report(false);
  });
}

void LinkHands::report_last(std::function<void()> done) {
  pause_.cancel();
  if (!up_) return done();
  force_ = true;
  sending_ = false;
  send_report(false, std::move(done));
}

void LinkHands::send_report(bool heartbeat, std::function<void()> done) {
  if (!up_ || sending_) {
    if (done) done();
    return;
  }
  // Only what is durable may be told: while a sync is in flight the state is ahead of the log, so wait for
  // it.
  if (!loop_.stats().degraded && loop_.released_through() < state_.through && !done) {
    again_ = true;
    scheduled_ = false;
    pause_.expires_after(steady(std::chrono::milliseconds(5)));
    scheduled_ = true;
    pause_.async_wait([this, heartbeat](boost::system::error_code cancelled) {
      scheduled_ = false;
      if (!cancelled) send_report(heartbeat);
    });
    return;
  }
  ReportContext context{options_.build, options_.architecture, options_.epoch, surroundings_.now().wall,
                        tree_head_};
  Report report = make_report(state_, context);
  if (report.digest == state_.report.digest && !heartbeat && !force_) {
    if (done) done();
    return;
  }
  sending_ = true;
  again_ = force_ = false;
  const std::string json = report.json;
  // Last writer wins on purpose: the device is the only writer of its reported document.
  uplink_.put_reported(
      {options_.device, kAgentModule}, json, std::nullopt,
      [this, report = std::move(report), done = std::move(done)](Result<std::uint64_t> revision) {
        sent(report, revision);
        if (done) done();
      });
}

void LinkHands::sent(const Report& report, const Result<std::uint64_t>& revision) {
  sending_ = false;
  if (!revision) {
    // The link's own observations decide about the link; the report goes again after the pause.
    if (revision.error().code == Errc::kTooLarge || revision.error().code == Errc::kPermissionDenied) {
      loop_.submit(ReportAcknowledged{report.through, 0, report.digest,
                                      static_cast<std::uint16_t>(revision.error().code),
                                      describe(revision.error())});
      return;
    }
    force_ = true;
    if (!up_) return;
    pause_.expires_after(std::chrono::seconds(1));
    scheduled_ = true;
    pause_.async_wait([this](boost::system::error_code cancelled) {
      scheduled_ = false;
      if (!cancelled) send_report(false);
    });
    return;
  }
  if (report.digest != state_.report.digest)
    loop_.submit(ReportAcknowledged{report.through, *revision, report.digest, 0, ""});
  if (again_) consider_report();
}

}  // namespace decklog::agent
