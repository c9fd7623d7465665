#include "services/uplink/nats_connection.hpp"

#include <nats/nats.h>
#include <netdb.h>

#include <atomic>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <cstring>

#include "services/uplink/nats_connection_slots.hpp"

namespace decklog::uplink {
namespace {

constexpr int kPendingMessagesMax = 65536;          // of one subscription, inside nats.c
constexpr int kPendingBytesMax = 64 * 1024 * 1024;  // of one subscription, inside nats.c
constexpr std::int64_t kPingIntervalMs = 30000;     // nats.c's own pings: a second line behind Uplink::ping

void* closure_of(std::uint64_t id) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(id));
}

void message_trampoline(natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
  if (const auto slot = Slots::instance().find(closure)) {
    const std::lock_guard lock(slot->mutex);
    if (slot->on_message) slot->on_message(message);
  }
  natsMsg_Destroy(message);
}

void closed_trampoline(natsConnection* connection, void* closure) {
  if (const auto slot = Slots::instance().find(closure)) {
    const std::lock_guard lock(slot->mutex);
    if (slot->on_closed) slot->on_closed(connection);
  }
}

void error_trampoline(natsConnection* connection, natsSubscription*, natsStatus status, void* closure) {
  if (const auto slot = Slots::instance().find(closure)) {
    const std::lock_guard lock(slot->mutex);
    if (slot->on_error) slot->on_error(connection, status);
  }
}

std::int64_t milliseconds(Duration duration) {
  return std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

LinkCause cause_of(natsStatus status, std::string_view text) {
  if (text.find("Authorization Violation") != text.npos || text.find("Authentication Expired") != text.npos) {
    return LinkCause::kAuth;
  }
  switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
      return LinkCause::kAuth;
    case NATS_NOT_PERMITTED:
      return LinkCause::kPermission;
    case NATS_SSL_ERROR:
      return LinkCause::kTls;
    case NATS_TIMEOUT:
      return LinkCause::kTimeout;
    case NATS_STALE_CONNECTION:
      return LinkCause::kPingMissed;
    case NATS_PROTOCOL_ERROR:
      return LinkCause::kProtocol;
    case NATS_CONNECTION_CLOSED:
      return LinkCause::kClosed;
    case NATS_IO_ERROR:
      return LinkCause::kIo;
    case NATS_SECURE_CONNECTION_WANTED:
      return LinkCause::kTls;
    case NATS_SECURE_CONNECTION_REQUIRED:
      return LinkCause::kTls;
    case NATS_NO_SERVER:
      return LinkCause::kRefusedByHost;
    default:
      return LinkCause::kIo;
  }
}

Error error_of(natsStatus status, std::string_view what) {
  std::string message = std::string(what) + ": " + natsStatus_GetText(status);
  switch (status) {
    case NATS_TIMEOUT:
      return error(Errc::kTimeout, std::move(message));
    case NATS_MAX_PAYLOAD:
      return error(Errc::kTooLarge, std::move(message));
    case NATS_NOT_PERMITTED:
      return error(Errc::kPermissionDenied, std::move(message));
    case NATS_INVALID_SUBJECT:
    case NATS_INVALID_ARG:
      return error(Errc::kInvalidArgument, std::move(message));
    default:
      return error(Errc::kUnavailable, std::move(message));
  }
}

NatsMessage take(natsMsg* message) {
  NatsMessage out;
  if (const char* subject = natsMsg_GetSubject(message)) out.subject = subject;
  if (const char* reply = natsMsg_GetReply(message)) out.reply = reply;
  out.body.assign(natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message)));
  const char** keys = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &keys, &count) == NATS_OK) {
    for (int i = 0; i < count; ++i) {
      const char** values = nullptr;
      int value_count = 0;
      if (natsMsgHeader_Values(message, keys[i], &values, &value_count) != NATS_OK) continue;
      for (int j = 0; j < value_count; ++j) out.headers.emplace_back(keys[i], values[j] ? values[j] : "");
      std::free(values);
    }
    std::free(keys);
  }
  if (const std::string* status = out.header("Status")) out.status = std::atoi(status->c_str());
  return out;
}

// The subject in: Permissions Violation for Publish to "a.b"
std::string subject_in(std::string_view text) {
  const std::size_t open = text.find('"');
  const std::size_t close = open == text.npos ? text.npos : text.find('"', open + 1);
  return close == text.npos ? std::string() : std::string(text.substr(open + 1, close - open - 1));
}

// nats.c says "no server" for a refused port and for an unknown name alike.
bool no_name_resolves(const std::vector<std::string>& servers) {
  for (const std::string& server : servers) {
    const auto url = boost::urls::parse_uri(server);
    if (!url) continue;
    const std::string host = url->host_address();
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), nullptr, nullptr, &found) != 0) continue;
    ::freeaddrinfo(found);
    return false;
  }
  return true;
}

struct OptionsHolder {
  natsOptions* options = nullptr;
  OptionsHolder() = default;
  OptionsHolder(const OptionsHolder&) = delete;
  OptionsHolder& operator=(const OptionsHolder&) = delete;
  ~OptionsHolder() { natsOptions_Destroy(options); }
};

natsStatus set_security(natsOptions* o, const NatsOptions& options) {
  natsStatus s = NATS_OK;
  if (!options.user.empty()) s = natsOptions_SetUserInfo(o, options.user.c_str(), options.password.c_str());
  if (s == NATS_OK && !options.token.empty()) s = natsOptions_SetToken(o, options.token.c_str());
  if (s == NATS_OK && !options.credentials_file.empty()) {
    s = natsOptions_SetUserCredentialsFromFiles(o, options.credentials_file.c_str(), nullptr);
  }
  if (s == NATS_OK && !options.nkey.empty()) {
    s = natsOptions_SetNKeyFromSeed(o, options.nkey.c_str(), options.nkey_seed_file.c_str());
  }
  bool tls = !options.tls_ca_file.empty() || !options.tls_certificate_file.empty();
  for (const auto& server : options.servers) tls = tls || server.starts_with("tls://");
  if (s != NATS_OK || !tls) return s;
  s = natsOptions_SetSecure(o, true);
  if (s == NATS_OK && !options.tls_ca_file.empty()) {
    s = natsOptions_LoadCATrustedCertificates(o, options.tls_ca_file.c_str());
  }
  if (s == NATS_OK && !options.tls_certificate_file.empty()) {
    s = natsOptions_LoadCertificatesChain(o, options.tls_certificate_file.c_str(),
                                          options.tls_key_file.c_str());
  }
  if (s == NATS_OK && !options.tls_host_name.empty()) {
    s = natsOptions_SetExpectedHostname(o, options.tls_host_name.c_str());
  }
  return s;
}

natsStatus set_behaviour(natsOptions* o, const NatsOptions& options, void* closure) {
  std::vector<const char*> servers;
  for (const auto& server : options.servers) servers.push_back(server.c_str());
  natsStatus s = natsOptions_SetServers(o, servers.data(), static_cast<int>(servers.size()));
  if (s == NATS_OK) s = natsOptions_SetTimeout(o, milliseconds(options.connect_timeout));
  if (s == NATS_OK) s = natsOptions_SetName(o, options.name.c_str());
  if (s == NATS_OK) s = natsOptions_SetAllowReconnect(o, false);
  if (s == NATS_OK) s = natsOptions_SetIgnoreDiscoveredServers(o, true);
  if (s == NATS_OK) s = natsOptions_SetPingInterval(o, kPingIntervalMs);
  if (s == NATS_OK) s = natsOptions_SetMaxPingsOut(o, 2);
  if (s == NATS_OK) s = natsOptions_SetWriteDeadline(o, milliseconds(options.write_timeout));
  // One delivery thread whatever the number of subscriptions.
  if (s == NATS_OK) s = natsOptions_UseGlobalMessageDelivery(o, true);
  if (s == NATS_OK) s = natsOptions_SetMaxPendingMsgs(o, kPendingMessagesMax);
  if (s == NATS_OK) s = natsOptions_SetClosedCB(o, closed_trampoline, closure);
  if (s == NATS_OK) s = natsOptions_SetErrorHandler(o, error_trampoline, closure);
  return s;
}

// Texts come from the server and from nats.c; a credential must not travel in them whatever they hold.
std::string clean(std::string text, const NatsOptions& options) {
  for (const std::string* secret : {&options.password, &options.token}) {
    for (std::size_t at; !secret->empty() && (at = text.find(*secret)) != std::string::npos;) {
      text.replace(at, secret->size(), 1, '?');
    }
  }
  return text;
}

}  // namespace

struct NatsConnection::State {
  natsConnection* connection = nullptr;
  std::uint64_t slot = 0;
  struct Subscription {
    natsSubscription* handle = nullptr;
  };
  std::mutex mutex;  // subscriptions are dropped by the worker and by close()
  std::map<std::uint64_t, Subscription> subscriptions;
  std::atomic<bool> closed = false;
};

const std::string* NatsMessage::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

NatsConnection::NatsConnection(std::unique_ptr<State> state) : state_(std::move(state)) {}

NatsConnection::~NatsConnection() {
  close();
  natsConnection_Destroy(state_->connection);
}

NatsConnection::Opened NatsConnection::open(const NatsOptions& options, Events events) {
  if (options.servers.empty()) return {nullptr, LinkCause::kProtocol, "no server address is configured"};
  auto slot = std::make_shared<Slot>();
  slot->on_closed = [events](natsConnection* connection) {
    const char* text = nullptr;
    const natsStatus status = natsConnection_GetLastError(connection, &text);
    const std::string detail = text && *text ? text : "the server closed the connection";
    const LinkCause cause = status == NATS_OK ? LinkCause::kClosed : cause_of(status, detail);
    events.on_closed(cause == LinkCause::kIo ? LinkCause::kClosed : cause, detail);
  };
  slot->on_error = [events](natsConnection* connection, natsStatus status) {
    if (status != NATS_NOT_PERMITTED) return;
    const char* text = nullptr;
    natsConnection_GetLastError(connection, &text);
    const std::string detail = text ? text : "";
    events.on_denied(subject_in(detail), detail);
  };
  auto state = std::make_unique<State>();
  state->slot = Slots::instance().add(std::move(slot));
  OptionsHolder holder;
  natsStatus s = natsOptions_Create(&holder.options);
  if (s == NATS_OK) s = set_behaviour(holder.options, options, closure_of(state->slot));
  if (s == NATS_OK) s = set_security(holder.options, options);
  const bool configured = s == NATS_OK;
  if (configured) s = natsConnection_Connect(&state->connection, holder.options);
  if (s != NATS_OK) {
    const char* text = nats_GetLastError(nullptr);
    std::string detail = clean(text && *text ? text : natsStatus_GetText(s), options);
    Slots::instance().remove(state->slot);
    LinkCause cause = configured || s == NATS_SSL_ERROR ? cause_of(s, detail) : LinkCause::kIo;
    if (s == NATS_NO_SERVER && no_name_resolves(options.servers)) {
      cause = LinkCause::kDns;
      detail = "no configured server name can be resolved";
    }
    return {nullptr, cause, std::move(detail)};
  }
  return {std::shared_ptr<NatsConnection>(new NatsConnection(std::move(state))), LinkCause::kNone, {}};
}

namespace {

struct MessageHolder {
  natsMsg* message = nullptr;
  MessageHolder() = default;
  MessageHolder(const MessageHolder&) = delete;
  MessageHolder& operator=(const MessageHolder&) = delete;
  ~MessageHolder() { natsMsg_Destroy(message); }
};

natsStatus build(MessageHolder& out, const NatsMessage& message) {
  natsStatus s = natsMsg_Create(&out.message, message.subject.c_str(),
                                message.reply.empty() ? nullptr : message.reply.c_str(), message.body.data(),
                                static_cast<int>(message.body.size()));
  for (const auto& [key, value] : message.headers) {
    if (s == NATS_OK) s = natsMsgHeader_Add(out.message, key.c_str(), value.c_str());
  }
  return s;
}

}  // namespace

Status NatsConnection::publish(const NatsMessage& message) {
  MessageHolder holder;
  natsStatus s = build(holder, message);
  if (s == NATS_OK) s = natsConnection_PublishMsg(state_->connection, holder.message);
  if (s != NATS_OK) return error_of(s, "publish");
  return {};
}

Result<std::uint64_t> NatsConnection::subscribe(const std::string& subject, Handler handler) {
  auto slot = std::make_shared<Slot>();
  slot->on_message = [handler = std::move(handler)](natsMsg* message) { handler(take(message)); };
  const std::uint64_t id = Slots::instance().add(std::move(slot));
  natsSubscription* handle = nullptr;
  natsStatus s = natsConnection_Subscribe(&handle, state_->connection, subject.c_str(), message_trampoline,
                                          closure_of(id));
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(handle, kPendingMessagesMax, kPendingBytesMax);
  if (s != NATS_OK) {
    natsSubscription_Destroy(handle);
    Slots::instance().remove(id);
    return error_of(s, "subscribe");
  }
  const std::lock_guard lock(state_->mutex);
  state_->subscriptions[id] = {handle};
  return id;
}

void NatsConnection::unsubscribe(std::uint64_t subscription) {
  natsSubscription* handle = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->subscriptions.find(subscription);
    if (found == state_->subscriptions.end()) return;
    handle = found->second.handle;
    state_->subscriptions.erase(found);
  }
  Slots::instance().remove(subscription);
  natsSubscription_Destroy(handle);
}

Result<NatsMessage> NatsConnection::request(const NatsMessage& message, Duration timeout) {
  MessageHolder holder;
  MessageHolder reply;
  natsStatus s = build(holder, message);
  if (s == NATS_OK) {
    s = natsConnection_RequestMsg(&reply.message, state_->connection, holder.message, milliseconds(timeout));
  }
  if (s == NATS_NO_RESPONDERS) return error(Errc::kUnavailable, "nobody answers", message.subject);
  if (s != NATS_OK) return error_of(s, "request");
  return take(reply.message);
}

Status NatsConnection::flush(Duration timeout) {
  const natsStatus s = natsConnection_FlushTimeout(state_->connection, milliseconds(timeout));
  if (s != NATS_OK) return error_of(s, "round trip");
  return {};
}

void NatsConnection::close() {
  if (state_->closed.exchange(true)) return;
  Slots::instance().remove(state_->slot);
  std::map<std::uint64_t, State::Subscription> subscriptions;
  {
    const std::lock_guard lock(state_->mutex);
    subscriptions.swap(state_->subscriptions);
  }
  for (const auto& [id, subscription] : subscriptions) Slots::instance().remove(id);
  natsConnection_Close(state_->connection);
  for (const auto& [id, subscription] : subscriptions) natsSubscription_Destroy(subscription.handle);
}

}  // namespace decklog::uplink
