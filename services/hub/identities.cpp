#include "services/hub/identities.hpp"

#include <fstream>

#include "services/hub/head_rules.hpp"
#include "services/workload/crypto.hpp"

namespace decklog::hub {

using mqtt::ConnectCode;

namespace {

constexpr std::size_t kMaxPasswordFileBytes = 4096;

iothub::ClientName named(const Identity& client) {
  return {client.device, client.module};
}

// Read at every login, so that a changed password needs no restart. Without the line's end.
std::optional<std::string> read_password(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxPasswordFileBytes, '\0');
  if (!file) return std::nullopt;
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) return std::nullopt;
  return text;
}

Identities::Verdict refused(ConnectCode code, std::string cause) {
  Identities::Verdict verdict;
  verdict.code = code;
  verdict.cause = std::move(cause);
  return verdict;
}

// What the edge CA issued to a module of this device says nothing about a device of the same name.
bool issued_to_a_module(const broker::PeerCertificate& certificate) {
  return certificate.uri.starts_with("azureiot://") && certificate.uri.find("/modules/") != std::string::npos;
}

// Looked at when it is shown: nobody else does for a self-signed one. "" = valid.
const char* out_of_date(const broker::PeerCertificate& certificate, WallTime now) {
  if (now < certificate.not_before) return "certificate-not-yet-valid";
  return now > certificate.not_after ? "certificate-expired" : "";
}

bool about_the_key(const std::string& cause) {
  return cause == "bad-signature" || cause == "unknown" || cause == "wrong-certificate" ||
         cause == "disabled";
}

}  // namespace

// ---- local users
// ----------------------------------------------------------------------------------------------------

void Identities::check_user(const broker::ConnectInfo& info, Done done) const {
  const auto& hub = parts_.config.hub;
  if (is_reserved(info.client_id))
    return done(refused(ConnectCode::kIdentifierRejected, "client-id-of-an-identity"));
  Verdict verdict;
  verdict.code = ConnectCode::kAccepted;
  if (!info.username) {
    const bool plain = info.transport == broker::Transport::kTcp;
    if (!hub.allow_anonymous || !plain) return done(refused(ConnectCode::kNotAuthorized, "no-credentials"));
    verdict.identity = kAnonymous;
    return done(std::move(verdict));
  }
  for (const auto& user : hub.users) {
    if (user.name != *info.username) continue;
    const auto password = read_password(user.password_file);
    if (!password) {
      parts_.remarks.say("auth", user.name, "the user's password file is missing, unreadable or empty");
      break;
    }
    // Digests, so that the time says nothing about the length either.
    if (!workload::same_secret(workload::sha256(*password), workload::sha256(info.password.value_or(""))))
      break;
    verdict.identity = std::string(kUserPrefix) + user.name;
    return done(std::move(verdict));
  }
  done(refused(ConnectCode::kBadCredentials, "bad-user-or-password"));
}

bool Identities::is_reserved(std::string_view client_id) const {
  const std::string& own = parts_.config.device;
  if (client_id == own) return true;
  if (client_id.starts_with(own) && client_id.substr(own.size()).starts_with('/')) return true;
  return parts_.store.find(client_id) != nullptr;
}

// ---- IoT Hub identities
// ---------------------------------------------------------------------------------------------

void Identities::check(const broker::ConnectInfo& info, Done done) {
  const auto& users = parts_.config.hub.users;
  const bool local = !info.username || info.username->find('/') == std::string::npos ||
                     std::any_of(users.begin(), users.end(),
                                 [&](const config::HubUser& user) { return user.name == *info.username; });
  local ? check_user(info, std::move(done)) : check_identity(info, std::move(done));
}

void Identities::check_identity(const broker::ConnectInfo& info, Done done) {
  const auto name = iothub::parse_connect_name(info.client_id, *info.username);
  if (!name) return done(refused(ConnectCode::kBadCredentials, name.error().message));
  const auto same = [&](const std::string& host) {
    return std::equal(host.begin(), host.end(), name->host.begin(), name->host.end(), [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    });
  };
  if (!same(parts_.config.iothub_hostname) && !same(parts_.config.gateway_hostname))
    return done(refused(ConnectCode::kBadCredentials, "wrong-host"));
  // These names mean something else here.
  if (is_local(name->client.device)) return done(refused(ConnectCode::kBadCredentials, "bad-client-id"));
  const Identity client{name->client.device, name->client.module};
  ShownProof proof;
  proof.certificate = info.certificate;
  if (info.password && !info.password->empty()) {
    auto token = iothub::parse_sas_token(*info.password);
    if (!token) return done(refused(ConnectCode::kNotAuthorized, token.error().message));
    proof.token = std::move(*token);
  } else if (info.certificate.sha256_thumbprint.empty()) {
    return done(refused(ConnectCode::kNotAuthorized, "no-credentials"));
  }
  auto verdict = judge(client, proof);
  const bool unknown = verdict.cause == "unknown";
  if (verdict.code == ConnectCode::kAccepted || !about_the_key(verdict.cause))
    return done(std::move(verdict));
  const std::string id = client.client_id();
  if (!link_up_) {
    // Clients come again by themselves only after "server unavailable".
    if (unknown && parts_.config.uplink.kind != "none") verdict.code = ConnectCode::kServerUnavailable;
    return done(std::move(verdict));
  }
  if (!lookups_.contains(id) && !may_ask(id, unknown ? kAskUnknownEvery : kAskRekeyedEvery))
    return done(std::move(verdict));
  ask(id, {client, std::move(proof), std::move(verdict), std::move(done)});
}

std::optional<IdentityFacts> Identities::find(const Identity& client) const {
  std::optional<IdentityFacts> facts;
  if (const auto* record = parts_.store.find(client.client_id())) {
    if (auto parsed = parse_identity_facts(record->json)) facts = std::move(*parsed);
  }
  if (client.device != parts_.config.device || client.module.empty()) return facts;
  const auto* own = parts_.modules.find(client.module);
  if (!own) return facts;
  // The agent's word on its modules' keys; the fleet's on whether they may come at all.
  IdentityFacts known;
  known.enabled = own->enabled && (!facts || facts->enabled);
  known.proof = IdentityFacts::Proof::kKeys;
  known.keys = {own->keys.primary, own->keys.secondary};
  return known;
}

Status Identities::prove(const Identity& client, const IdentityFacts& facts, const ShownProof& proof,
                         WallTime now) const {
  using Proof = IdentityFacts::Proof;
  if (!facts.enabled) return error(Errc::kUnauthenticated, "disabled");
  if (proof.token) {
    std::vector<std::string> keys;
    if (facts.proof == Proof::kKeys) keys = facts.keys;
    const iothub::SasRules rules{{parts_.config.iothub_hostname, parts_.config.gateway_hostname}, now};
    auto status = iothub::check_sas_token(*proof.token, named(client), keys, rules);
    if (status || client.module.empty() || status.error().message != "bad-signature") return status;
    // A module may come with a token of its device, signed with the device's key.
    const auto device = find({client.device, {}});
    if (!device || !device->enabled || device->proof != Proof::kKeys) return status;
    return iothub::check_sas_token(*proof.token, {client.device, {}}, device->keys, rules) ? Status()
                                                                                           : status;
  }
  const auto& shown = proof.certificate;
  if (!client.module.empty() || shown.sha256_thumbprint.empty())
    return error(Errc::kUnauthenticated, "no-credentials");
  if (facts.proof == Proof::kThumbprint) {
    for (const auto& known : facts.thumbprints) {
      if (known == shown.sha1_thumbprint || known == shown.sha256_thumbprint) return {};
    }
  }
  if (facts.proof == Proof::kAuthority && shown.chain_verified && !issued_to_a_module(shown) &&
      shown.subject_common_name == client.device)
    return {};
  return error(Errc::kUnauthenticated, "wrong-certificate");
}

Identities::Verdict Identities::judge(const Identity& client, const ShownProof& proof) const {
  const auto facts = find(client);
  if (!facts) return refused(ConnectCode::kNotAuthorized, "unknown");
  const WallTime now = parts_.surroundings.now().wall;
  if (const std::string stale = proof.token ? "" : out_of_date(proof.certificate, now); !stale.empty())
    return refused(ConnectCode::kNotAuthorized, stale);
  const auto status = prove(client, *facts, proof, now);
  if (!status) return refused(ConnectCode::kNotAuthorized, status.error().message);
  Verdict verdict;
  verdict.code = ConnectCode::kAccepted;
  verdict.identity = client.client_id();
  verdict.client = client;
  verdict.proof = proof;
  return verdict;
}

Status Identities::check_token(const Identity& client, std::string_view token) const {
  auto parsed = iothub::parse_sas_token(token);
  if (!parsed) return parsed.error();
  const auto verdict = judge(client, {std::move(*parsed), {}});
  if (verdict.code != ConnectCode::kAccepted) return error(Errc::kUnauthenticated, verdict.cause);
  return {};
}

Status Identities::recheck(const Identity& client, const ShownProof& proof) const {
  const auto facts = find(client);
  if (!facts || !facts->enabled) return error(Errc::kUnauthenticated, "disabled");
  if (prove(client, *facts, proof, WallTime{})) return {};
  return error(Errc::kUnauthenticated, "re-keyed");
}

// ---- asking the fleet
// -----------------------------------------------------------------------------------------------

bool Identities::may_ask(const std::string& name, Duration every) {
  const MonoTime now = parts_.surroundings.now().mono;
  const auto found = asked_.find(name);
  if (found != asked_.end() && now - found->second < every) return false;
  if (found == asked_.end() && asked_.size() >= kMaxRemembered) {
    std::erase_if(asked_, [&](const auto& entry) { return now - entry.second >= kAskRekeyedEvery; });
    if (asked_.size() >= kMaxRemembered) asked_.clear();
  }
  asked_[name] = now;
  return true;
}

void Identities::ask(const std::string& name, Waiting waiting) {
  const auto found = lookups_.find(name);
  const bool full = found == lookups_.end() ? lookups_.size() >= kMaxLookups
                                            : found->second.waiting.size() >= kMaxWaitingPerLookup;
  if (full) {
    waiting.otherwise.code = ConnectCode::kServerUnavailable;
    return waiting.done(std::move(waiting.otherwise));
  }
  const Identity client = waiting.client;
  auto& lookup = lookups_[name];
  lookup.waiting.push_back(std::move(waiting));
  if (lookup.waiting.size() > 1) return;
  lookup.deadline = parts_.surroundings.now().mono + kLookupDeadline;
  parts_.uplink.get_identity({client.device, client.module},
                             [this, name, alive = parts_.alive](const Result<std::string>& record) {
                               if (!alive.expired()) answered(name, record);
                             });
}

void Identities::answered(const std::string& name, const Result<std::string>& record) {
  const bool gone = !record && record.error().code == Errc::kNotFound;
  if (record) keep(name, *record);
  if (gone) parts_.store.remove(name);
  const auto found = lookups_.find(name);
  if (found == lookups_.end()) return;
  const auto waiting = std::move(found->second.waiting);
  lookups_.erase(found);
  for (const auto& each : waiting) {
    auto verdict = record || gone ? judge(each.client, each.proof) : each.otherwise;
    if (!record && !gone && verdict.cause == "unknown") verdict.code = ConnectCode::kServerUnavailable;
    each.done(std::move(verdict));
  }
}

void Identities::keep(const std::string& name, const std::string& json) {
  const auto* known = parts_.store.find(name);
  if (known && known->json == json) return;
  if (!parse_identity_facts(json))
    return parts_.remarks.say("auth", name, "the fleet's identity record is malformed");
  const std::uint64_t revision = known ? known->revision + 1 : 1;
  const auto put = parts_.store.put(name, {json, revision, parts_.surroundings.now().wall});
  if (!put) parts_.remarks.say("auth", name, "identity record not kept: " + describe(put.error()));
  parts_.uplink.watch_identities(identity_of(name).device);
}

void Identities::on_identity(const Identity& client, const std::string& json) {
  const std::string name = client.client_id();
  asked_.erase(name);
  if (json.empty()) {
    parts_.store.remove(name);
  } else {
    keep(name, json);
  }
}

void Identities::refresh(const Identity& client, std::function<void(bool)> done) {
  const std::string name = client.client_id();
  parts_.uplink.get_identity(
      {client.device, client.module},
      [this, name, done = std::move(done), alive = parts_.alive](const Result<std::string>& record) {
        if (alive.expired()) return;
        answered(name, record);
        done(record.has_value());
      });
}

void Identities::on_link(bool up) {
  if (up && !link_up_) {
    asked_.clear();
    parts_.uplink.watch_identities(parts_.config.device);
    for (const auto& name : parts_.store.all()) parts_.uplink.watch_identities(identity_of(name).device);
  }
  link_up_ = up;
}

void Identities::tick() {
  const MonoTime now = parts_.surroundings.now().mono;
  std::vector<std::string> late;
  for (const auto& [name, lookup] : lookups_) {
    if (lookup.deadline < now) late.push_back(name);
  }
  for (const auto& name : late) answered(name, error(Errc::kTimeout, "the fleet did not answer"));
}

}  // namespace decklog::hub
