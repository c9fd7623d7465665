#include "services/agent/telemetry.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <map>

#include "events/build.hpp"
#include "persistence/log_key.hpp"
#include "services/agent/direct_methods.hpp"
#include "services/agent/metrics_follower.hpp"
#include "services/agent/metrics_page.hpp"
#include "services/agent/report.hpp"
#include "services/http/patient_listener.hpp"
#include "services/http/server.hpp"

#include <sys/utsname.h>

namespace decklog::agent {

namespace json = boost::json;

namespace {

// A method's name is the caller's: only those that exist become label values.
std::string method_label(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* known : {"ping", "RestartModule", "GetModuleLogs"}) {
    std::string lower = known;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (name == lower) return known;
  }
  return "other";
}

std::string machine() {
  utsname name{};
  return ::uname(&name) == 0 ? name.machine : "";
}

std::string head_json(const HeadSigned& head, std::string_view public_key) {
  return json::serialize(json::object{{"treeSize", head.tree_size},
                                      {"root", head.root},
                                      {"signature", head.signature},
                                      {"keyId", head.key_id},
                                      {"publicKey", persistence::to_hex(public_key)}});
}

}  // namespace

struct Telemetry::Parts {
  boost::asio::any_io_executor executor;
  const config::Config& config;
  persistence::Journal& journal;
  loop::Surroundings& surroundings;
  Agent* agent = nullptr;
  uplink::Uplink* uplink = nullptr;
  std::unique_ptr<JournalFollower> follower;
  std::optional<persistence::LogKey> key;
  std::string key_problem;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::PatientListener> port;
  std::string port_problem;
  MonoTime started;
  bool ready = false;
  std::map<std::string, std::uint64_t> methods;
  Sequence head_at;   // newest event a head was signed for
  Sequence tally_at;  // of the newest tally stored

  void open_key();
  void listen();
  void answer(const http::Request& request, const http::Responder& responder);
  http::Response page();
  http::Response readiness() const;
  std::uint64_t lag();
  HeadSigned sign();
  void save_tally_when_due(bool now);
};

void Telemetry::Parts::open_key() {
  auto opened = persistence::LogKey::load_or_create(config.data_dir + "/log.key");
  if (!opened) {
    key_problem = describe(opened.error());
    return;
  }
  key = std::move(*opened);
  // Beside the journal, so that a copy of it can be checked.
  if (const auto status = key->publish(config.data_dir + "/agent/journal"); !status)
    key_problem = describe(status.error());
}

void Telemetry::Parts::listen() {
  if (!config.agent.metrics) return;
  http::ServerLimits limits;
  limits.body_bytes = 4096;
  limits.max_connections = 16;
  server = std::make_unique<http::Server>(
      executor, limits,
      [this](const http::Request& request, const http::Responder& responder) { answer(request, responder); });
  // Somebody else's port is no reason to supervise nothing.
  port = std::make_unique<http::PatientListener>(executor, *server);
  port->listen(config.agent.metrics->address, config.agent.metrics->port, [this](const std::string& problem) {
    port_problem = problem;
    std::fprintf(stderr, "decklog: agent.metrics: %s\n", problem.c_str());
  });
}

void Telemetry::Parts::answer(const http::Request& request, const http::Responder& responder) {
  if (request.method != "GET") return responder.send(http::json_error(405, "only GET is answered here"));
  const std::string path = request.segments.size() == 1 ? request.segments[0] : "";
  if (path == "metrics") return responder.send(page());
  if (path == "healthz") return responder.send({200, "application/json", R"({"alive":true})"});
  if (path == "readyz") return responder.send(readiness());
  responder.send(http::json_error(404, "there are /metrics, /healthz and /readyz"));
}

http::Response Telemetry::Parts::readiness() const {
  const char* reason = nullptr;
  if (!ready) reason = "the state is not recovered yet";
  if (journal.stats().degraded || agent->loop().stats().degraded)
    reason = "the journal refuses events: history is not written";
  if (!reason) return {200, "application/json", R"({"ready":true})"};
  return {503, "application/json", json::serialize(json::object{{"ready", false}, {"reason", reason}})};
}

// What the fleet holds says everything when it is what would be sent now, however many steps led here.
std::uint64_t Telemetry::Parts::lag() {
  const auto& state = agent->state();
  const std::uint64_t decisions = follower->unreported({state.report.through});
  if (decisions == 0) return 0;
  const ReportContext context{build_id(), machine(), journal.epoch(), surroundings.now().wall, ""};
  return make_report(state, context).digest == state.report.digest ? 0 : decisions;
}

http::Response Telemetry::Parts::page() {
  follower->catch_up();
  persistence::JournalStats stats = journal.stats();
  stats.degraded = stats.degraded || agent->loop().stats().degraded;
  MetricsView view{.state = agent->state(),
                   .tally = follower->tally(),
                   .methods = methods,
                   .journal = stats,
                   .newest = journal.durable_sequence(),
                   .lag_events = lag(),
                   .host = read_host_facts(config.data_dir),
                   .started = started,
                   .now = surroundings.now().mono,
                   // Counters begin anew with a journal, not with a process: its epoch is the instance.
                   .common = {{"iothub", config.iothub_hostname},
                              {"edge_device", config.device},
                              {"instance_number", std::to_string(journal.epoch())}}};
  return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_page(view)};
}

HeadSigned Telemetry::Parts::sign() {
  const HeadSigned head = follower->tree().head(*key);
  follower->save_tree();
  agent->link().set_tree_head(head_json(head, key->public_key()));
  return head;
}

void Telemetry::Parts::save_tally_when_due(bool now) {
  const Sequence through = follower->tally().through;
  if (through.value < tally_at.value + (now ? 1 : kTallySnapshotEveryEvents)) return;
  tally_at = through;
  follower->save_tally();
}

Telemetry::Telemetry(boost::asio::any_io_executor executor, const config::Config& config,
                     persistence::Journal& journal, loop::Surroundings& surroundings)
    : parts_(new Parts{.executor = std::move(executor),
                       .config = config,
                       .journal = journal,
                       .surroundings = surroundings}) {
  parts_->started = surroundings.now().mono;
  parts_->open_key();
}

Telemetry::~Telemetry() = default;

std::uint16_t Telemetry::metrics_port() const {
  return parts_->port ? parts_->port->port() : 0;
}

void Telemetry::attach(Agent& agent, uplink::Uplink& uplink) {
  parts_->agent = &agent;
  parts_->uplink = &uplink;
  parts_->follower =
      std::make_unique<JournalFollower>(parts_->journal, Sequence{agent.state().report.through});
  parts_->head_at = Sequence{parts_->follower->tree().size()};
  parts_->tally_at = parts_->follower->tally().through;
  parts_->listen();
}

void Telemetry::take(const Envelope& event) {
  if (std::holds_alternative<ServiceStarted>(event.fact)) parts_->ready = true;
}

std::vector<Fact> Telemetry::heads_after(const Envelope& event) {
  auto& parts = *parts_;
  const bool started = std::holds_alternative<ServiceStarted>(event.fact);
  const bool stopped = std::holds_alternative<ServiceStopped>(event.fact);
  std::vector<Fact> notes;
  if (started && !parts.port_problem.empty())
    notes.push_back(Remarked{.topic = "metrics", .subject = "agent.metrics", .text = parts.port_problem});
  if (started && !parts.key_problem.empty()) {
    const std::string text = (parts.key ? "the public key is not beside the journal: "
                                        : "the log goes on without signed heads: ") +
                             parts.key_problem;
    notes.push_back(Remarked{.topic = "log", .subject = "key", .text = text});
    return notes;
  }
  const bool due = event.sequence.value >= parts.head_at.value + kHeadEveryEvents;
  if (!started && !stopped && !due) return notes;
  parts.follower->catch_up();
  parts.head_at = Sequence{parts.follower->tree().size()};
  parts.save_tally_when_due(stopped);
  if (parts.key && parts.head_at.value != 0) notes.push_back(parts.sign());
  return notes;
}

void Telemetry::answer_method(const uplink::MethodCall& call) {
  ++parts_->methods[method_label(call.name)];
  run_direct_method(*parts_->agent, call, [this, tag = call.call_tag](const uplink::MethodAnswer& answer) {
    parts_->uplink->answer_method(tag, answer);
  });
}

}  // namespace decklog::agent
