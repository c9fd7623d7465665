// What the forwarder counts of what it does.
#include "services/hub/forwarder.hpp"
#include "services/hub/message_form.hpp"

namespace decklog::hub {
namespace {

constexpr double kNewestShare = 0.2;  // of a tick in the rate: it follows within some seconds

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void Forwarder::count_sent(const Sent& sent, const Instant& now) {
  Endpoint& endpoint = *sent.endpoint;
  ++endpoint.taken;
  const bool upstream = endpoint.module.empty();
  const std::string_view to = upstream ? "upstream" : std::string_view(endpoint.module);
  const char priority = static_cast<char>('0' + sent.priority);
  const std::string_view lane(&priority, 1);
  ++stats_.sent.at({sent.from, to, sent.output, endpoint.input, lane});
  stats_.send_seconds.at({sent.from, to, sent.output, endpoint.input}).add(seconds(now.mono - sent.at));
  // By the wall clock, because the message may be from before a boot; a clock set back is no negative time.
  const Duration waited(std::max<std::int64_t>(now.wall.ns - sent.stored.ns, 0));
  stats_.process_seconds.at({sent.from, to, lane}).add(seconds(waited));
}

std::string Forwarder::origin_of(std::string_view head) {
  const auto message = decode_head(head, {});
  return message ? message->sender.client_id() + '\n' + message->output : std::string();
}

void Forwarder::on_lost(const persistence::Loss& loss) {
  const auto reason = metric_reason(loss.reason);
  std::uint64_t known = 0;
  for (const auto& [origin, count] : loss.origins) {
    const auto end = std::min(origin.find('\n'), origin.size());
    const std::string_view from(origin.data(), end);
    const std::string_view output = end < origin.size() ? std::string_view(origin).substr(end + 1) : "";
    stats_.dropped.at({reason, from, output}) += count;
    known += count;
  }
  if (loss.count > known) stats_.dropped.at({reason, "", ""}) += loss.count - known;
}

void Forwarder::tick() {
  const MonoTime now = surroundings_.now().mono;
  const double passed = seconds(now - std::exchange(ticked_, now));
  if (passed <= 0) return;
  for (auto& [id, endpoint] : endpoints_) {
    const auto taken = endpoint->taken - std::exchange(endpoint->taken_before, endpoint->taken);
    endpoint->rate += kNewestShare * (static_cast<double>(taken) / passed - endpoint->rate);
    if (endpoint->rate < 0.001) endpoint->rate = 0;
  }
}

std::vector<Forwarder::DrainRate> Forwarder::drain_rates() const {
  std::vector<DrainRate> rates;
  for (const auto& [id, endpoint] : endpoints_) rates.push_back({id, endpoint->rate});
  return rates;
}

}  // namespace decklog::hub
