#include "services/audit/diff.hpp"

#include <cstdlib>

#include "services/agent/recovery.hpp"

namespace decklog::audit {
namespace {

DecidedLife life_of(const persistence::JournalReader& journal) {
  DecidedLife life;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (life.begin_ns == 0) life.begin_ns = event.time.wall.ns;
    if (info(event.fact).kind == EventKind::kDecision) life.add(event);
    return true;
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  (void)journal.read(Sequence{1}, journal.durable_sequence(), visitor);
  life.end = end_state(agent::recover(journal).state);
  return life;
}

// Times and sequences differ between any two logs; what was decided is what is compared.
bool same_outcome(const Envelope& a, const Envelope& b) {
  if (a.fact.index() != b.fact.index()) return false;
  if (const auto* x = std::get_if<ModuleTransitioned>(&a.fact)) {
    const auto& y = std::get<ModuleTransitioned>(b.fact);
    return x->module == y.module && x->from == y.from && x->to == y.to && x->trigger == y.trigger &&
           x->reason == y.reason && x->effects == y.effects && x->life.restart_count == y.life.restart_count;
  }
  if (const auto* x = std::get_if<DeploymentTransitioned>(&a.fact)) {
    const auto& y = std::get<DeploymentTransitioned>(b.fact);
    return x->from == y.from && x->to == y.to && x->reason == y.reason && x->plan == y.plan;
  }
  if (const auto* x = std::get_if<UplinkTransitioned>(&a.fact)) {
    const auto& y = std::get<UplinkTransitioned>(b.fact);
    return x->from == y.from && x->to == y.to && x->trigger == y.trigger && x->effects == y.effects;
  }
  return a.fact == b.fact;
}

void compare_stream(const std::string& name, const std::vector<Envelope>& a, const std::vector<Envelope>& b,
                    const DecidedLife& all_a, const DecidedLife& all_b, LogDifference& out) {
  std::size_t i = 0;
  for (; i < a.size() && i < b.size() && same_outcome(a[i], b[i]); ++i) {
    const std::int64_t apart =
        std::abs((a[i].time.wall.ns - all_a.begin_ns) - (b[i].time.wall.ns - all_b.begin_ns));
    if (apart > out.apart_max_ns) {
      out.apart_max_ns = apart;
      out.apart_where = name + ", decision " + std::to_string(i + 1);
    }
  }
  out.same += i;
  if (i == a.size() && i == b.size()) return;
  StreamDifference difference{name, i, {}, {}, {}};
  if (i < a.size()) difference.a = a[i];
  if (i < b.size()) difference.b = b[i];
  if (difference.a && difference.b) difference.fields = differences(difference.a->fact, difference.b->fact);
  out.streams.push_back(std::move(difference));
}

}  // namespace

void DecidedLife::add(const Envelope& decision) {
  by_stream[decision.stream.value].push_back(decision);
  ++count;
}

std::map<std::string, std::string> end_state(const agent::AgentState& state) {
  std::map<std::string, std::string> parts;
  parts["deployment"] =
      "version " + std::to_string(state.deployment.version) + " " + name_of(state.deployment.state);
  parts["uplink"] = name_of(state.uplink.state);
  for (const auto& [name, module] : state.modules)
    parts["module " + name.value] =
        name_of(module.life.state) + ", " + std::to_string(module.life.restart_count) + " restarts";
  return parts;
}

LogDifference diff_logs(const persistence::JournalReader& a, const persistence::JournalReader& b) {
  return diff_lives(life_of(a), life_of(b));
}

LogDifference diff_lives(const DecidedLife& a, const DecidedLife& b) {
  static const std::vector<Envelope> kNone;
  LogDifference out;
  out.decisions_a = a.count;
  out.decisions_b = b.count;
  for (const auto& [name, decisions] : a.by_stream) {
    const auto other = b.by_stream.find(name);
    compare_stream(name, decisions, other == b.by_stream.end() ? kNone : other->second, a, b, out);
  }
  for (const auto& [name, decisions] : b.by_stream) {
    if (!a.by_stream.contains(name)) compare_stream(name, kNone, decisions, a, b, out);
  }
  for (const auto& [part, text] : a.end) {
    const auto other = b.end.find(part);
    if (other == b.end.end() || other->second != text)
      out.state.push_back({part, text, other == b.end.end() ? "not there" : other->second});
  }
  for (const auto& [part, text] : b.end) {
    if (!a.end.contains(part)) out.state.push_back({part, "not there", text});
  }
  return out;
}

}  // namespace decklog::audit
