#include "services/audit/diff.hpp"

#include <cstdlib>
#include <map>

#include "services/agent/recovery.hpp"
#include "services/agent/report.hpp"

namespace decklog::audit {
namespace {

struct Decisions {
  std::map<std::string, std::vector<Envelope>> by_stream;
  std::uint64_t count = 0;
  std::int64_t begin_ns = 0;
};

Decisions decisions_of(const persistence::JournalReader& journal) {
  Decisions out;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (out.begin_ns == 0) out.begin_ns = event.time.wall.ns;
    if (info(event.fact).kind != EventKind::kDecision) return true;
    out.by_stream[event.stream.value].push_back(event);
    ++out.count;
    return true;
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  (void)journal.read(Sequence{1}, journal.durable_sequence(), visitor);
  return out;
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
                    const Decisions& all_a, const Decisions& all_b, LogDifference& out) {
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

std::map<std::string, std::string> end_state(const persistence::JournalReader& journal) {
  const auto state = agent::recover(journal).state;
  std::map<std::string, std::string> parts;
  parts["deployment"] =
      "version " + std::to_string(state.deployment.version) + " " + name_of(state.deployment.state);
  parts["uplink"] = name_of(state.uplink.state);
  for (const auto& [name, module] : state.modules)
    parts["module " + name.value] =
        name_of(module.life.state) + ", " + std::to_string(module.life.restart_count) + " restarts";
  return parts;
}

}  // namespace

LogDifference diff_logs(const persistence::JournalReader& a, const persistence::JournalReader& b) {
  static const std::vector<Envelope> kNone;
  LogDifference out;
  auto of_a = decisions_of(a), of_b = decisions_of(b);
  out.decisions_a = of_a.count;
  out.decisions_b = of_b.count;
  for (const auto& [name, decisions] : of_a.by_stream) {
    const auto other = of_b.by_stream.find(name);
    compare_stream(name, decisions, other == of_b.by_stream.end() ? kNone : other->second, of_a, of_b, out);
  }
  for (const auto& [name, decisions] : of_b.by_stream) {
    if (!of_a.by_stream.contains(name)) compare_stream(name, kNone, decisions, of_a, of_b, out);
  }
  const auto state_a = end_state(a);
  auto state_b = end_state(b);
  for (const auto& [part, text] : state_a) {
    const auto other = state_b.find(part);
    if (other == state_b.end())
      out.state.push_back({part, text, "not there"});
    else if (other->second != text)
      out.state.push_back({part, text, other->second});
    if (other != state_b.end()) state_b.erase(other);
  }
  for (const auto& [part, text] : state_b) out.state.push_back({part, "not there", text});
  return out;
}

}  // namespace decklog::audit
