#include "services/hub/hub.hpp"

#include <sys/stat.h>

#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "events/build.hpp"
#include "services/hub/hub_parts.hpp"
#include "services/hub/recovery.hpp"
#include "services/uplink/uplink_factory.hpp"
#include "services/workload/server_certificate.hpp"

namespace decklog::hub {

namespace asio = boost::asio;

namespace {

constexpr auto kTick = std::chrono::seconds(1);
constexpr std::uint64_t kCertificateLookTicks = 60;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The agent renews in good time. One that is missing, from before the clock was right, or all but over has no
// agent that would.
bool overdue(const std::string& certificate_pem, WallTime now) {
  const auto validity = workload::certificate_validity(certificate_pem);
  if (!validity) return true;
  const std::int64_t life = validity->not_after.ns - validity->not_before.ns;
  return now < validity->not_before || now.ns > validity->not_after.ns - life / 10;
}

persistence::Sealer sealer_for(const workload::DeviceKeys& keys, const char* purpose) {
  auto sealer = std::make_shared<workload::Sealer>(keys.sealer(purpose));
  persistence::Sealer made;
  made.seal = [sealer](std::string_view aad, std::string_view text) { return sealer->seal(text, aad); };
  made.open = [sealer](std::string_view aad, std::string_view sealed) { return sealer->open(sealed, aad); };
  return made;
}

}  // namespace

Hub::Hub(asio::io_context& context, const config::Config& config)
    : context_(context), config_(config), parts_(std::make_unique<Parts>(*this)), tick_(context) {}

Hub::~Hub() {
  *parts_->alive = false;
}

Status Hub::open() {
  std::error_code failed;
  std::filesystem::create_directories(config_.data_dir + "/hub", failed);
  ::chmod((config_.data_dir + "/hub").c_str(), 0700);
  auto keys = workload::DeviceKeys::open(config_.data_dir + "/device.key");
  if (!keys) return keys.error();
  parts_->keys = std::make_unique<workload::DeviceKeys>(std::move(*keys));
  auto uplink = uplink::make_uplink(context_.get_executor(), config_);
  if (!uplink) return uplink.error();
  parts_->uplink = std::move(*uplink);
  if (auto status = open_log(); !status) return status;
  if (auto status = open_stores(); !status) return status;
  if (auto status = open_listeners(); !status) return status;
  ServiceStarted started;
  started.service = "hub";
  started.version = kVersion;
  started.clean_shutdown = state().clean_shutdown;
  started.device = config_.device;
  started.epoch = journal_.report.epoch;
  for (const auto flag : kBehaviour) started.behaviour.emplace_back(flag);
  HubState settings;
  settings.uplink_wanted = config_.uplink.kind != "none";
  settings.uplink_settings.ping_every = config_.uplink.ping_every;
  settings.uplink_settings.backoff_first = config_.uplink.backoff_first;
  settings.uplink_settings.backoff_cap = config_.uplink.backoff_cap;
  settings.uplink_settings.stable_after = config_.uplink.stable_after;
  started.settings = settings_json(settings);
  parts_->loop->submit(std::move(started));
  for (const auto& gap : journal_.report.gaps) parts_->loop->note(gap);
  if (!state().desired.document.empty()) {
    const auto configured = parts_->forwarder->configure(state().desired.document, state().desired.version);
    parts_->desired_code = configured.code;
    parts_->desired_description = configured.description;
    parts_->desired_version = state().desired.version;
  }
  tick();
  return {};
}

Status Hub::open_log() {
  persistence::JournalHooks hooks;
  hooks.gap = [this, alive = parts_->alive](const GapRecorded& gap) {
    asio::post(context_, [this, alive, gap] {
      if (*alive) parts_->loop->note(gap);
    });
  };
  hooks.snapshot_wanted = [this, alive = parts_->alive] {
    asio::post(context_, [this, alive] {
      if (*alive) parts_->loop->want_snapshot();
    });
  };
  auto journal =
      loop::open_journal(config_.data_dir + "/hub/journal", config_.hub.journal_budget_bytes, hooks);
  if (!journal)
    return error(journal.error().code,
                 "another hub is running on this data directory: " + describe(journal.error()));
  journal_ = std::move(*journal);
  auto& log = *journal_.journal;
  core_ = recover(log).core;
  loop::LoopOptions options;
  options.build = build_id();
  parts_->loop =
      std::make_unique<loop::ServiceLoop>(context_.get_executor(), log, core_, surroundings_, options);
  parts_->loop->on_release([this](const Envelope& event) { released(event); });
  parts_->timers = std::make_unique<loop::Timers>(context_.get_executor(), surroundings_,
                                                  [this](const std::string&) { parts_->link->on_timer(); });
  HubLink::Hooks link;
  link.on_change = [this](bool up) {
    parts_->link_tally.change(up, surroundings_.now().mono);
    parts_->forwarder->on_link(up);
    parts_->head->on_link(up);
  };
  link.reported = [this] { return reported(); };
  parts_->link = std::make_unique<HubLink>(context_.get_executor(), *parts_->loop, state(), *parts_->timers,
                                           *parts_->uplink, config_.device, link);
  parts_->uplink->set_listener(listener());
  return {};
}

Status Hub::open_stores() {
  persistence::StoreHooks hooks;
  hooks.post = [this](std::function<void()> work) { asio::post(context_, std::move(work)); };
  hooks.committed = [this](const persistence::Committed& committed) {
    if (parts_->session_store) parts_->session_store->on_committed(committed);
    if (parts_->forwarder) parts_->forwarder->on_committed(committed);
  };
  hooks.readable = [this](persistence::QueueId queue) {
    if (parts_->forwarder && parts_->forwarder->on_readable(queue)) return;
    if (parts_->session_store) parts_->session_store->on_readable(queue);
  };
  hooks.origin = &Forwarder::origin_of;
  hooks.lost = [this](const persistence::Loss& loss) {
    if (parts_->forwarder) parts_->forwarder->on_lost(loss);
    parts_->losses.add(loss, surroundings_.now().mono);
  };
  hooks.trouble = [this](const persistence::StoreTrouble& trouble) {
    parts_->loop->submit(StoreObserved{"messages", static_cast<std::uint16_t>(trouble.code),
                                       trouble.code == Errc::kOk ? "takes messages again" : trouble.message});
  };
  persistence::MessageStoreOptions options;
  options.directory = config_.data_dir + "/hub/messages";
  options.durability = config_.hub.durability == "process" ? persistence::Durability::kProcess
                                                           : persistence::Durability::kPower;
  options.max_bytes = config_.hub.store_limit_bytes;
  auto messages = persistence::MessageStore::open(options, hooks, surroundings_.boot(), surroundings_.now());
  if (!messages) return messages.error();
  parts_->messages = std::move(*messages);
  if (parts_->messages->open_report().damaged) {
    note(GapRecorded{.gap = GapKind::kDamaged,
                     .reason = "message store: " + parts_->messages->open_report().problem,
                     .kept_aside = parts_->messages->open_report().kept_aside});
  }
  auto sessions = persistence::SessionStore::open(*parts_->messages);
  if (!sessions) return sessions.error();
  parts_->sessions = std::move(*sessions);
  auto twins = persistence::TwinStore::open(*parts_->messages, sealer_for(*parts_->keys, "twins"));
  if (!twins) return twins.error();
  parts_->twins = std::move(*twins);
  auto identities =
      persistence::IdentityStore::open(*parts_->messages, sealer_for(*parts_->keys, "identities"));
  if (!identities) return identities.error();
  parts_->identities = std::move(*identities);
  auto tries = persistence::TallyStore::open(*parts_->messages, persistence::TallyKind::kTries);
  if (!tries) return tries.error();
  parts_->tries = std::move(*tries);
  auto told = persistence::TallyStore::open(*parts_->messages, persistence::TallyKind::kTold);
  if (!told) return told.error();
  parts_->told = std::move(*told);
  parts_->losses.remember_in(*parts_->told);
  persistence::QueueLimits session_queue;
  session_queue.policy = persistence::FullPolicy::kDropNew;
  parts_->session_store = std::make_unique<broker::DurableSessionStore>(
      *parts_->messages, *parts_->sessions, [this] { return surroundings_.now(); }, session_queue);
  parts_->forwarder =
      std::make_unique<Forwarder>(context_.get_executor(), *parts_->messages, surroundings_, *parts_->uplink,
                                  *this, config_.hub.default_ttl, config_.hub.store_limit_bytes);
  return parts_->forwarder->start();
}

Status Hub::open_listeners() {
  std::error_code failed;
  std::filesystem::create_directories(config_.data_dir + "/workload", failed);
  parts_->modules = std::make_unique<workload::LocalIdentities>(
      context_.get_executor(), config_.data_dir + "/workload/identities.sealed", *parts_->keys);
  if (auto status = parts_->modules->start([this] {
        if (parts_->head) parts_->head->tick();
      });
      !status)
    return status;
  parts_->head = std::make_unique<Head>(HeadParts{context_.get_executor(), config_, surroundings_,
                                                  *parts_->uplink, *parts_->forwarder, *this, *parts_->twins,
                                                  *parts_->identities, *parts_->tries, *parts_->modules});
  parts_->forwarder->attach(*parts_->head);
  if (config_.hub.mqtt_tls || config_.hub.https) {
    if (auto status = load_certificate(true); !status) return status;
  }
  broker::BrokerOptions options;
  options.limits.max_connections = config_.hub.max_clients;
  const auto add = [&](const char* name, broker::Transport transport,
                       const std::optional<config::Endpoint>& at,
                       const std::shared_ptr<broker::TlsContext>& tls) {
    if (at) options.listeners.push_back({name, transport, at->address, at->port, tls});
  };
  add("mqtts", broker::Transport::kTls, config_.hub.mqtt_tls, parts_->tls);
  add("https", broker::Transport::kSecureWebSocket, config_.hub.https, parts_->tls);
  add("mqtt", broker::Transport::kTcp, config_.hub.mqtt_plain, nullptr);
  parts_->broker = std::make_unique<broker::Broker>(context_, options, *parts_->head, *parts_->session_store);
  parts_->head->attach(*parts_->broker);
  return parts_->broker->open();
}

// The user's certificate, or the one the agent keeps renewed. Read again now and then: a new one is used by
// the next handshake, without a restart.
Status Hub::load_certificate(bool first) {
  broker::TlsMaterial material;
  const bool own = !config_.hub.server_certificate_file.empty();
  material.certificate_chain_pem =
      read_file(own ? config_.hub.server_certificate_file : config_.data_dir + "/workload/hub-server.pem");
  material.private_key_pem = own ? read_file(config_.hub.server_key_file) : material.certificate_chain_pem;
  if (!own && overdue(material.certificate_chain_pem, surroundings_.now().wall)) {
    if (auto status = make_certificate(); !status) return status;
    material.certificate_chain_pem = material.private_key_pem =
        read_file(config_.data_dir + "/workload/hub-server.pem");
  }
  if (material.certificate_chain_pem.empty()) {
    return error(Errc::kNotFound, "no server certificate",
                 own ? config_.hub.server_certificate_file : config_.data_dir + "/workload/hub-server.pem");
  }
  material.client_ca_pem = read_file(config_.data_dir + "/workload/edge-ca.pem");
  if (const auto& roots = config_.hub.client_ca_file; !roots.empty()) {
    const std::string text = read_file(roots);
    if (text.empty()) return error(Errc::kNotFound, "no certificate to trust in client_ca_file", roots);
    material.client_ca_pem += '\n' + text;
  }
  const std::string text = material.certificate_chain_pem + material.private_key_pem + material.client_ca_pem;
  if (!first && text == parts_->certificate) return {};
  if (first) {
    auto made = broker::TlsContext::make(material);
    if (!made) return made.error();
    parts_->tls = std::move(*made);
  } else if (auto status = parts_->tls->reload(material); !status) {
    return status;
  } else {
    note(Remarked{"certificate", "hub", "a new server certificate is in use"});
  }
  parts_->certificate = text;
  return {};
}

// A hub that runs before (or without) an agent makes edge CA and certificate itself, and again in time; an
// agent finds and keeps them.
Status Hub::make_certificate() {
  const std::string directory = config_.data_dir + "/workload";
  std::optional<workload::UserCa> user;
  if (!config_.edge_ca_certificate_file.empty())
    user = workload::UserCa{config_.edge_ca_certificate_file, config_.edge_ca_key_file, ""};
  auto ca = workload::EdgeCa::open(directory, user, surroundings_.now().wall);
  if (!ca) return ca.error();
  auto made = workload::ServerCertificate::open(directory + "/hub-server.pem",
                                                {config_.gateway_hostname, "localhost", "127.0.0.1"}, *ca,
                                                surroundings_.now().wall);
  return made ? Status{} : Status{made.error()};
}

uplink::Listener Hub::listener() {
  uplink::Listener listener;
  listener.on_link = [this](const uplink::LinkEvent& event) { parts_->link->on_link(event); };
  listener.on_desired = [this](const uplink::TwinKey& key, const uplink::TwinValue& value) {
    if (key.device == config_.device && key.module == "$edgeHub") return received_desired(value);
    parts_->head->on_desired(key, value);
  };
  listener.on_identity = [this](const uplink::TwinKey& key, const std::string& json) {
    parts_->head->on_identity(key, json);
  };
  listener.on_method = [this](const uplink::MethodCall& call) { parts_->head->on_method(call); };
  listener.on_cloud_message = [this](const uplink::CloudMessage& message) {
    parts_->head->on_cloud_message(message);
  };
  return listener;
}

void Hub::received_desired(const uplink::TwinValue& value) {
  if (value.revision == 0 ||
      (value.json == state().desired.document && value.revision == state().desired.version))
    return;
  DesiredReceived fact;
  fact.source = "uplink";
  fact.version = value.revision;
  fact.size = value.json.size();
  if (value.json.size() > 256 * 1024) {
    fact.problem_code = 400;
    fact.problem = "$: larger than 256 KiB";
  } else {
    const auto configured = parts_->forwarder->configure(value.json, value.revision);
    parts_->desired_code = configured.code;
    parts_->desired_description = configured.description;
    parts_->desired_version = value.revision;
    fact.document = value.json;
    if (configured.code != 200) fact.problem = configured.description;
  }
  parts_->loop->submit(std::move(fact), Actor("fleet"),
                       Correlation("routes/" + std::to_string(value.revision)),
                       [this](Result<Sequence>) { parts_->link->consider_report(); });
}

void Hub::released(const Envelope& event) {
  if (stopping_) return;
  if (const auto* link = std::get_if<UplinkTransitioned>(&event.fact)) parts_->link->carry_out(*link);
  if (std::holds_alternative<ClientTransitioned>(event.fact)) parts_->link->consider_report();
}

void Hub::tick() {
  tick_.expires_after(kTick);
  tick_.async_wait([this](boost::system::error_code cancelled) {
    if (cancelled) return;
    parts_->head->tick();
    parts_->forwarder->tick();
    parts_->losses.tick(surroundings_.now().mono);
    const Instant now = surroundings_.now();
    if (ticks_ == 0) compare_losses();
    if (++ticks_ % 5 == 0) parts_->messages->tick(now);
    // A clock that was set makes a certificate valid, or none any more.
    const Duration offset(now.wall.ns - now.mono.ns);
    const bool stepped = std::chrono::abs(offset - std::exchange(clock_offset_, offset)) > kTick;
    if (stepped || ticks_ % kCertificateLookTicks == 0) look_at_certificate();
    tick();
  });
}

void Hub::look_at_certificate() {
  if (!parts_->tls) return;
  const auto status = load_certificate(false);
  const std::string problem = status ? "" : describe(status.error());
  // Once, not at every look.
  if (std::exchange(parts_->certificate_problem, problem) != problem && !problem.empty())
    note(Remarked{"certificate", "hub", problem});
}

void Hub::stop(const std::string& reason, std::function<void()> done) {
  tick_.cancel();
  parts_->broker->close([this, reason, done = std::move(done)] {
    parts_->messages->flush();
    parts_->losses.flush();
    parts_->loop->submit(ServiceStopped{reason}, {}, {}, [this, done](Result<Sequence>) {
      stopping_ = true;
      (void)journal_.journal->flush();
      done();
    });
  });
}

}  // namespace decklog::hub
