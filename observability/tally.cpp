#include "observability/tally.hpp"

#include <boost/json.hpp>
#include <cmath>

namespace decklog::observability {
namespace {

namespace json = boost::json;

double seconds(Duration duration) {
  return static_cast<double>(duration.count()) / 1e9;
}

void settle(ModuleTally& module, MonoTime now) {
  const double passed = module.since.ns == 0 ? 0 : std::max(0.0, seconds(now - module.since));
  if (module.correct) module.correct_seconds += passed;
  if (module.expected) module.expected_seconds += passed;
  module.since = now;
}

struct Fold {
  Tally& tally;
  const Envelope& event;

  void operator()(const ModuleTransitioned& fact) const {
    ModuleTally& module = tally.modules[fact.module.value];
    ++module.transitions;
    settle(module, event.time.mono);
    module.expected = fact.life.target == ModuleTarget::kRunning;
    module.correct = module.expected && fact.to == ModuleState::kRunning;
    if (fact.to == ModuleState::kRunning && fact.from != ModuleState::kRunning &&
        fact.from != ModuleState::kUnhealthy)
      ++module.starts;
    const bool was_up = fact.from == ModuleState::kRunning || fact.from == ModuleState::kUnhealthy ||
                        fact.from == ModuleState::kStopping;
    const bool is_up = fact.to == ModuleState::kRunning || fact.to == ModuleState::kUnhealthy ||
                       fact.to == ModuleState::kStopping;
    if (was_up && !is_up) ++module.stops;
    if (fact.reason == ModuleReason::kPolicyRestart) ++module.restarts[name_of(fact.life.last_end)];
    if (fact.to == ModuleState::kRemoved) tally.modules.erase(fact.module.value);
  }
  void operator()(const WorkFinished& fact) const {
    tally.work[name_of(fact.work)].add(seconds(Duration(fact.took_ns)));
    if (fact.work != PendingWork::kPull) return;
    ModuleTally& module = tally.modules[fact.module.value];
    module.pull_seconds += seconds(Duration(fact.took_ns));
    module.pull_bytes += fact.bytes;
  }
  void operator()(const DeploymentTransitioned& fact) const {
    if (fact.reason == DeploymentReason::kRejected)
      ++tally.desired_rejected[std::to_string(fact.life.last_code)];
    if (fact.to == DeploymentState::kApplying && fact.reason == DeploymentReason::kAccepted)
      tally.applying_since = event.time.mono;
    if (fact.to == DeploymentState::kApplied && tally.applying_since.ns != 0) {
      tally.deployments.add(std::max(0.0, seconds(event.time.mono - tally.applying_since)));
      tally.applying_since = {};
    }
  }
  void operator()(const ServiceStarted&) const {
    // Nothing is counted over the time in between, of which nobody knows anything. After a boot nothing runs.
    tally.applying_since = {};
    for (auto& [name, module] : tally.modules) {
      settle(module, tally.seen);
      module.since = event.time.mono;
      if (tally.boot != event.boot) module.correct = false;
    }
  }
  void operator()(const InputRejected& fact) const { ++tally.inputs_rejected[fact.machine]; }
  void operator()(const UplinkTransitioned& fact) const {
    if (fact.from != fact.to) ++tally.uplink_transitions[name_of(fact.to)];
  }
  void operator()(const ReportAcknowledged& fact) const {
    ++(fact.code == 0 ? tally.reports : tally.reports_refused);
  }
  void operator()(const GapRecorded& fact) const {
    if (fact.gap == GapKind::kNotWritten) tally.not_written += fact.count;
  }
  template <class Other>
  void operator()(const Other&) const {}
};

json::object counts(const std::map<std::string, std::uint64_t>& from) {
  json::object out;
  for (const auto& [name, count] : from) out[name] = count;
  return out;
}

json::object spread_json(const Spread& spread) {
  json::array buckets;
  for (const auto count : spread.buckets) buckets.emplace_back(count);
  return {{"count", spread.count}, {"sum", spread.sum_seconds}, {"buckets", buckets}};
}

std::uint64_t number(const json::object& from, const char* name) {
  return from.contains(name) ? from.at(name).to_number<std::uint64_t>() : 0;
}
double real(const json::object& from, const char* name) {
  return from.contains(name) ? from.at(name).to_number<double>() : 0;
}

void read_counts(const json::object& from, const char* name, std::map<std::string, std::uint64_t>& into) {
  if (!from.contains(name)) return;
  for (const auto& entry : from.at(name).as_object())
    into[std::string(entry.key())] = entry.value().to_number<std::uint64_t>();
}

Spread read_spread(const json::object& from) {
  Spread spread;
  spread.count = number(from, "count");
  spread.sum_seconds = real(from, "sum");
  const auto& buckets = from.at("buckets").as_array();
  for (std::size_t i = 0; i < std::min(buckets.size(), Spread::kBuckets); ++i)
    spread.buckets[i] = buckets[i].to_number<std::uint64_t>();
  return spread;
}

Tally read_tally(const json::object& from) {
  Tally tally;
  tally.through.value = number(from, "through");
  tally.boot.value = std::string(from.at("boot").as_string());
  tally.seen.ns = static_cast<std::int64_t>(number(from, "seen"));
  tally.applying_since.ns = static_cast<std::int64_t>(number(from, "applyingSince"));
  tally.reports = number(from, "reports");
  tally.reports_refused = number(from, "reportsRefused");
  tally.not_written = number(from, "notWritten");
  read_counts(from, "desiredRejected", tally.desired_rejected);
  read_counts(from, "inputsRejected", tally.inputs_rejected);
  read_counts(from, "uplink", tally.uplink_transitions);
  tally.deployments = read_spread(from.at("deployments").as_object());
  for (const auto& entry : from.at("work").as_object())
    tally.work[std::string(entry.key())] = read_spread(entry.value().as_object());
  for (const auto& entry : from.at("modules").as_object()) {
    const auto& in = entry.value().as_object();
    ModuleTally& module = tally.modules[std::string(entry.key())];
    module.transitions = number(in, "transitions");
    module.starts = number(in, "starts");
    module.stops = number(in, "stops");
    module.pull_bytes = number(in, "pullBytes");
    module.pull_seconds = real(in, "pullSeconds");
    module.correct_seconds = real(in, "correct");
    module.expected_seconds = real(in, "expected");
    module.correct = in.at("correctNow").as_bool();
    module.expected = in.at("expectedNow").as_bool();
    module.since.ns = static_cast<std::int64_t>(number(in, "since"));
    read_counts(in, "restarts", module.restarts);
  }
  return tally;
}

}  // namespace

void Spread::add(double value) {
  ++count;
  sum_seconds += value;
  const double steps = value <= 0.001 ? 0 : std::ceil(std::log2(value / 0.001));
  ++buckets[std::min<std::size_t>(static_cast<std::size_t>(steps), kBuckets - 1)];
}

double Spread::quantile(double q) const {
  const double wanted = q * static_cast<double>(count);
  double seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += static_cast<double>(buckets[i]);
    if (seen >= wanted && buckets[i] != 0) return 0.001 * std::pow(2.0, static_cast<double>(i));
  }
  return 0;
}

void Tally::take(const Envelope& event) {
  std::visit(Fold{*this, event}, event.fact);
  boot = event.boot;
  seen = event.time.mono;
  if (through < event.sequence) through = event.sequence;
}

double Tally::correct_seconds(const ModuleTally& module, MonoTime now) const {
  return module.correct_seconds +
         (module.correct && module.since.ns != 0 ? std::max(0.0, seconds(now - module.since)) : 0);
}

double Tally::expected_seconds(const ModuleTally& module, MonoTime now) const {
  return module.expected_seconds +
         (module.expected && module.since.ns != 0 ? std::max(0.0, seconds(now - module.since)) : 0);
}

std::string Tally::to_json() const {
  json::object per_module, per_work;
  for (const auto& [name, module] : modules) {
    per_module[name] = json::object{{"transitions", module.transitions},
                                    {"starts", module.starts},
                                    {"stops", module.stops},
                                    {"pullBytes", module.pull_bytes},
                                    {"pullSeconds", module.pull_seconds},
                                    {"correct", module.correct_seconds},
                                    {"expected", module.expected_seconds},
                                    {"correctNow", module.correct},
                                    {"expectedNow", module.expected},
                                    {"since", module.since.ns},
                                    {"restarts", counts(module.restarts)}};
  }
  for (const auto& [name, spread] : work) per_work[name] = spread_json(spread);
  return json::serialize(json::object{{"through", through.value},
                                      {"boot", boot.value},
                                      {"seen", seen.ns},
                                      {"applyingSince", applying_since.ns},
                                      {"modules", per_module},
                                      {"work", per_work},
                                      {"deployments", spread_json(deployments)},
                                      {"desiredRejected", counts(desired_rejected)},
                                      {"inputsRejected", counts(inputs_rejected)},
                                      {"uplink", counts(uplink_transitions)},
                                      {"reports", reports},
                                      {"reportsRefused", reports_refused},
                                      {"notWritten", not_written}});
}

Result<Tally> Tally::from_json(std::string_view text) {
  try {
    return read_tally(json::parse(text).as_object());
  } catch (const std::exception& failed) {
    return error(Errc::kCorrupt, std::string("counters do not read: ") + failed.what());
  }
}

}  // namespace decklog::observability
