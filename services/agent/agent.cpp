#include "services/agent/agent.hpp"

#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include "services/agent/stored_deployment.hpp"
#include "statemachines/deployment_machine.hpp"

namespace decklog::agent {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr const char* kAgentModule = "$edgeAgent";

// Twin documents carry their own version; a bare file does not.
std::uint64_t version_in(const std::string& document) {
  json::error_code code;
  const auto value = json::parse(document, code);
  if (code || !value.is_object()) return 0;
  const auto* version = value.get_object().if_contains("$version");
  const auto number = version && version->is_number() ? version->to_number<std::uint64_t>(code) : 0;
  return code ? 0 : number;
}

bool same_registry(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
         });
}

std::optional<runtime::RegistryCredential> login_for(const Deployment& deployment, const std::string& image) {
  const std::string registry = registry_of(image);
  for (const auto& login : deployment.registries) {
    if (same_registry(login.address, registry))
      return runtime::RegistryCredential{login.address, login.username, login.password};
  }
  return std::nullopt;
}

}  // namespace

Agent::Agent(asio::any_io_executor executor, AgentOptions options, AgentParts parts)
    : executor_(executor),
      options_(std::move(options)),
      parts_(std::move(parts)),
      recovery_(recover(parts_.journal)),
      list_timer_(executor) {
  core_.core = AgentCore(recovery_.state);
  loop_ = std::make_unique<loop::ServiceLoop>(
      executor, parts_.journal, core_, parts_.surroundings,
      loop::LoopOptions{.build = options_.build, .snapshot_every_events = options_.snapshot_every_events});
  timers_ = std::make_unique<loop::Timers>(executor, parts_.surroundings, [this](const std::string& key) {
    key == "uplink" ? link_->on_timer() : loop_->submit(TimerFired{key});
  });
  modules_ = std::make_unique<ModuleHands>(*loop_, state(), parts_.surroundings, *timers_,
                                           [this](const ModuleName& name) { return spec_of(name); });
  for (auto* runtime : parts_.runtimes) modules_->add(*runtime);
  prober_ = std::make_unique<Prober>(executor, *loop_, state(), parts_.surroundings,
                                     [this](const ModuleName& name) { return modules_->runtime_of(name); });
  LinkOptions link{
      .device = options_.core.device, .build = options_.build, .architecture = options_.architecture};
  link.epoch = parts_.journal_report.epoch;
  link.heartbeat = options_.heartbeat;
  link_ = std::make_unique<LinkHands>(executor, *loop_, state(), parts_.surroundings, *timers_, parts_.uplink,
                                      link);
  loop_->on_release([this](const Envelope& event) { released(event); });
  if (parts_.notes) loop_->on_note(parts_.notes);
}

Agent::~Agent() = default;

void Agent::start() {
  parts_.uplink.set_listener(link_listener());
  ServiceStarted started;
  started.service = "agent";
  started.version = options_.version;
  started.clean_shutdown = state().clean_shutdown;
  started.device = options_.core.device;
  started.epoch = parts_.journal_report.epoch;
  for (const auto flag : kBehaviour) started.behaviour.emplace_back(flag);
  started.settings = to_json(options_.core);
  // Deadlines of this boot go on from where they were; the core voids those of another.
  const bool same_boot = state().boot == parts_.surroundings.boot();
  loop_->submit(std::move(started));
  for (const auto& gap : parts_.journal_report.gaps) loop_->note(gap);
  if (same_boot) {
    modules_->rearm();
    if (const auto deadline = deployment_timer(state().deployment); deadline.ns != 0)
      timers_->arm("deployment", deadline);
  }
  modules_->start();
  list_again();
}

void Agent::list_again() {
  list_timer_.expires_after(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(options_.list_every));
  list_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (cancelled) return;
    modules_->list();
    list_again();
  });
}

void Agent::stop(const std::string& reason, Duration deadline, std::function<void()> done) {
  stopping_ = true;
  list_timer_.cancel();
  auto over = std::make_shared<std::function<void()>>(std::move(done));
  const auto finish = [this, over] {
    if (auto last = std::exchange(*over, nullptr)) asio::post(executor_, std::move(last));
  };
  auto limit = std::make_shared<asio::steady_timer>(executor_);
  limit->expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(deadline));
  limit->async_wait([finish, limit](boost::system::error_code) { finish(); });
  loop_->submit(ServiceStopped{reason}, {}, {}, [this, finish, limit](Result<Sequence>) {
    link_->report_last([finish, limit] {
      limit->cancel();
      finish();
    });
  });
}

uplink::Listener Agent::link_listener() {
  uplink::Listener listener;
  listener.on_link = [this](const uplink::LinkEvent& event) { link_->on_link(event); };
  listener.on_desired = [this](const uplink::TwinKey& key, const uplink::TwinValue& value) {
    if (key.module == kAgentModule && value.revision != 0)
      receive_desired("uplink", value.json, value.revision);
  };
  listener.on_identity = [](const uplink::TwinKey&, const std::string&) {};
  listener.on_method = [this](const uplink::MethodCall& call) {
    if (parts_.on_method) parts_.on_method(call);
  };
  listener.on_cloud_message = [](const uplink::CloudMessage&) {};
  return listener;
}

void Agent::released(const Envelope& event) {
  if (!stopping_) {
    if (const auto* fact = std::get_if<ModuleTransitioned>(&event.fact)) {
      modules_->carry_out(event, *fact);
      prober_->update(fact->module);
    } else if (const auto* link = std::get_if<UplinkTransitioned>(&event.fact)) {
      link_->carry_out(*link);
    } else if (const auto* deployment = std::get_if<DeploymentTransitioned>(&event.fact)) {
      if (deployment->effects & statemachines::kCancelDeploymentTimer) timers_->cancel("deployment");
      if (deployment->effects & statemachines::kArmDeploymentTimer)
        timers_->arm("deployment", deployment_timer(deployment->life));
      forget_documents();
    } else if (const auto* seen = std::get_if<ModuleObserved>(&event.fact)) {
      prober_->update(seen->module);
    }
    link_->consider_report();
  }
  parts_.on_event(event);
}

void Agent::forget_documents() {
  const auto& life = state().deployment;
  std::set<std::string> keep{life.hash, life.good_hash};
  for (const auto& [hash, document] : state().documents) keep.insert(hash);
  parts_.vault.keep_only(keep);
}

void Agent::receive_desired(const std::string& source, const std::string& document, std::uint64_t version,
                            Actor actor, std::function<void(Verdict)> done) {
  DesiredReceived fact;
  fact.source = source;
  fact.version = version_in(document) != 0 ? version_in(document) : version;
  if (fact.version == 0) fact.version = state().deployment.last_version + 1;
  fact.size = document.size();
  fact.hash = parts_.secrets.digest(document);
  const auto& life = state().deployment;
  // After each reconnect the document comes again as it stands.
  if (source == "uplink" && fact.hash == life.hash && fact.version == life.last_version &&
      life.last_code == 200)
    return;
  if (document.size() > kMaxDocumentBytes) {
    fact.problem_code = 400;
    fact.problem = "$: the document is larger than 1 MiB";
  } else if (document.find_first_not_of(" \t\r\n") == std::string::npos) {
    fact.problem_code = 417;
    fact.problem = "$: the document is empty";
  } else if (auto strict = parse_deployment(document); !strict) {
    // The path is named from the document as written; values are never quoted for members that hold secrets.
    fact.problem_code = desired_status_code(strict.error());
    fact.problem = describe(strict.error());
  } else if (auto redacted = parts_.secrets.redact(document); !redacted) {
    fact.problem_code = 400;
    fact.problem = describe(redacted.error());
  } else if (auto kept = parts_.vault.put(fact.hash, document); !kept) {
    fact.problem_code = 500;
    fact.problem = "the document cannot be kept on this device: " + describe(kept.error());
  } else {
    fact.document = std::move(*redacted);
  }
  loop_->submit(std::move(fact), std::move(actor), {}, [this, done = std::move(done)](Result<Sequence>) {
    if (!done) return;
    const auto& now = state().deployment;
    Verdict verdict{now.last_code, now.last_message, now.last_version, name_of(now.state), {}};
    done(std::move(verdict));
  });
}

Result<std::vector<std::string>> Agent::plan(const std::string& document) const {
  auto strict = parse_deployment(document);
  if (!strict) return strict.error();
  const auto redacted = parts_.secrets.redact(document);
  if (!redacted) return redacted.error();
  const auto parsed = parse_stored_deployment(*redacted);
  if (!parsed) return parsed.error();
  return core_.core.dry_run(*parsed);
}

void Agent::command(const std::string& command, const ModuleName& module, Actor actor,
                    const std::string& request_id, std::function<void(Status)> done) {
  if (!state().modules.contains(module)) {
    loop_->submit(OperatorCommanded{command, module, request_id}, std::move(actor), Correlation(request_id),
                  [done = std::move(done), module](Result<Sequence>) {
                    done(error(Errc::kNotFound, "no such module", module.value));
                  });
    return;
  }
  loop_->submit(OperatorCommanded{command, module, request_id}, std::move(actor), Correlation(request_id),
                [done = std::move(done)](Result<Sequence> accepted) {
                  if (!accepted) return done(accepted.error());
                  done({});
                });
}

Result<const Deployment*> Agent::full_deployment() {
  const Document* document = state().in_force();
  if (!document) return error(Errc::kNotFound, "no deployment is in force");
  if (opened_ && opened_hash_ == document->hash) return opened_.get();
  auto text = parts_.vault.get(document->hash);
  if (!text) return text.error();
  auto parsed = parse_stored_deployment(*text);
  if (!parsed) return parsed.error();
  opened_ = std::make_unique<const Deployment>(std::move(*parsed));
  opened_hash_ = document->hash;
  return opened_.get();
}

Result<runtime::ModuleSpec> Agent::spec_of(const ModuleName& name) {
  const auto* redacted = state().desired(name);
  const auto full = full_deployment();
  if (!full) return full.error();
  const auto found = (*full)->modules.find(name);
  if (!redacted || found == (*full)->modules.end())
    return error(Errc::kNotFound, "not in the deployment in force", name.value);
  const DesiredModule& module = found->second;
  runtime::ModuleSpec spec;
  spec.name = name;
  spec.kind = module.kind;
  spec.spec_hash = redacted->spec_hash;
  spec.env = module.env;
  spec.stop_timeout = module.stop_timeout;
  spec.image = module.image;
  spec.digest = module.digest;
  spec.pull_policy = module.pull_policy;
  spec.create_options = module.create_options;
  spec.credential = login_for(**full, module.image);
  spec.network = options_.network;
  spec.command = module.command.empty() && module.kind == runtime::RuntimeKind::kProcess
                     ? options_.hub_command
                     : module.command;
  spec.working_directory = module.working_directory;
  spec.user = module.user;
  spec.memory_limit_bytes = module.memory_limit_bytes;
  parts_.equip(spec);
  return spec;
}

}  // namespace decklog::agent
