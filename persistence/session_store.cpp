#include "persistence/session_store.hpp"

#include <algorithm>
#include <map>

#include "persistence/message_store_bytes.hpp"

namespace decklog::persistence {
namespace {

// Keys: s<text session> 'h' header | 'f' filter | 'i' packet id | 'o' packet id; r<topic> retained.
// The client id is length-prefixed, so that one id is never the prefix of another's keys.
constexpr char kVersion = 1;
constexpr std::size_t kMaxTopicBytes = 1'024;

std::string session_key(std::string_view client_id, char part) {
  std::string key("s");
  put_text(key, client_id);
  key.push_back(part);
  return key;
}

std::string packet_key(std::string_view client_id, char part, std::uint16_t packet_id) {
  std::string key = session_key(client_id, part);
  key.push_back(static_cast<char>(packet_id >> 8));
  key.push_back(static_cast<char>(packet_id));
  return key;
}

std::string header_value(const SessionRecord& session) {
  std::string value(1, kVersion);
  put_text(value, session.owner);
  put_fixed64(value, static_cast<std::uint64_t>(session.last_seen.ns));
  return value;
}

Error corrupt(std::string_view what) {
  return error(Errc::kCorrupt, "stored bytes do not parse", std::string(what));
}

struct Session {
  SessionRecord record;
  std::vector<std::uint32_t> filters;  // hashes, sorted: counts distinct filters at 4 bytes each
};

std::uint32_t filter_hash(std::string_view filter) {
  return static_cast<std::uint32_t>(lane_of(filter));
}

}  // namespace

class SessionStore::Impl {
 public:
  Impl(RecordStore& store, const SessionLimits& limits) : records(store), limits_(limits) {}

  Status load();
  Status load_session(std::string_view key, std::string_view value);
  Session* find(std::string_view client_id) {
    const auto found = sessions.find(client_id);
    return found == sessions.end() ? nullptr : &found->second;
  }
  Result<GroupId> set_retained(const RetainedMessage& message);
  GroupId write(const std::string& key, std::string_view value) {
    return records.write(key, value, RecordStore::OnFailure::kRetry);
  }
  GroupId add_packet(std::string_view client_id, std::uint16_t packet_id);
  void group_failed(GroupId group);

  RecordStore& records;
  std::map<std::string, Session, std::less<>> sessions;
  std::map<std::string, RetainedMessage, std::less<>> retained;

 private:
  struct Added {
    GroupId group;
    std::string client_id;
    std::uint16_t packet_id = 0;
  };
  SessionLimits limits_;
  std::size_t retained_bytes_ = 0;
  std::vector<Added> undecided_;  // incoming ids whose group is not decided: taken back when it fails
};

Status SessionStore::Impl::load_session(std::string_view key, std::string_view value) {
  ByteReader in(key.substr(1));
  const std::string client_id(in.text());
  const char part = static_cast<char>(in.byte());
  if (!in.ok()) return corrupt("session key");
  Session& session = sessions[client_id];
  session.record.client_id = client_id;
  switch (part) {
    case 'h': {
      ByteReader header(value);
      if (header.byte() != kVersion) return error(Errc::kUnsupported, "stored by a newer version", client_id);
      session.record.owner = std::string(header.text());
      session.record.last_seen.ns = static_cast<std::int64_t>(header.fixed64());
      return header.ok() ? Status{} : corrupt("session");
    }
    case 'f':
      session.filters.push_back(filter_hash(in.take(in.left())));
      return {};
    case 'i':
    case 'o': {
      const auto packet_id = static_cast<std::uint16_t>(in.key(2));
      if (!in.ok()) return corrupt("packet id");
      (part == 'i' ? session.record.incoming : session.record.releases).insert(packet_id);
      return {};
    }
    default:
      return corrupt("session key");
  }
}

Status SessionStore::Impl::load() {
  Status problem;
  Status scanned = records.scan("s", [&](std::string_view key, std::string_view value) {
    const Status loaded = load_session(key, value);
    if (!loaded && problem) problem = loaded;
  });
  if (!scanned) return scanned;
  if (!problem) return problem;
  for (auto& [id, session] : sessions) std::sort(session.filters.begin(), session.filters.end());
  scanned = records.scan("r", [&](std::string_view key, std::string_view value) {
    ByteReader in(value);
    RetainedMessage message;
    message.topic = std::string(key.substr(1));
    const std::uint8_t version = in.byte();
    message.qos = in.byte();
    message.head = std::string(in.text());
    message.body = std::string(in.text());
    if (!in.ok() || version != kVersion) {
      if (problem) problem = corrupt(message.topic);
      return;
    }
    retained_bytes_ += message.topic.size() + message.head.size() + message.body.size();
    std::string topic = message.topic;
    retained.insert_or_assign(std::move(topic), std::move(message));
  });
  if (!scanned) return scanned;
  return problem;
}

GroupId SessionStore::Impl::add_packet(std::string_view client_id, std::uint16_t packet_id) {
  Session* session = find(client_id);
  if (session == nullptr) return records.durable_group();
  session->record.incoming.insert(packet_id);
  const GroupId group =
      records.write(packet_key(client_id, 'i', packet_id), {}, RecordStore::OnFailure::kForget);
  std::erase_if(undecided_, [&](const Added& added) { return added.group <= records.durable_group(); });
  undecided_.push_back({group, std::string(client_id), packet_id});
  return group;
}

// The message of the same group is not stored either: the client's repeat must not look like one.
void SessionStore::Impl::group_failed(GroupId group) {
  std::erase_if(undecided_, [&](const Added& added) {
    if (added.group != group) return false;
    if (Session* session = find(added.client_id)) session->record.incoming.erase(added.packet_id);
    return true;
  });
}

Result<GroupId> SessionStore::Impl::set_retained(const RetainedMessage& message) {
  if (message.topic.size() > kMaxTopicBytes) return error(Errc::kTooLarge, "topic longer than 1024 bytes");
  const auto old = retained.find(message.topic);
  const auto size_of = [](const RetainedMessage& m) {
    return m.topic.size() + m.head.size() + m.body.size();
  };
  const std::size_t old_size = old == retained.end() ? 0 : size_of(old->second);
  const std::string key = "r" + message.topic;
  if (message.body.empty()) {
    if (old == retained.end()) return records.durable_group();
    retained_bytes_ -= old_size;
    retained.erase(old);
    return records.erase(key);
  }
  const std::size_t count = retained.size() + (old == retained.end() ? 1 : 0);
  if (count > limits_.max_retained ||
      retained_bytes_ - old_size + size_of(message) > limits_.max_retained_bytes) {
    return error(Errc::kNoSpace, "too many retained messages", message.topic);
  }
  retained_bytes_ += size_of(message) - old_size;
  std::string value(1, kVersion);
  value.push_back(static_cast<char>(message.qos));
  put_text(value, message.head);
  put_text(value, message.body);
  retained.insert_or_assign(message.topic, message);
  return write(key, value);
}

SessionStore::SessionStore(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
SessionStore::~SessionStore() = default;

Result<std::unique_ptr<SessionStore>> SessionStore::open(RecordStore& records, const SessionLimits& limits) {
  auto impl = std::make_shared<Impl>(records, limits);
  if (const Status loaded = impl->load(); !loaded) return loaded.error();
  std::unique_ptr<SessionStore> store(new SessionStore(std::move(impl)));
  // The record store outlives this one and goes on calling: it holds only a weak reference.
  records.on_group_failed([weak = std::weak_ptr<Impl>(store->impl_)](GroupId group) {
    if (const auto alive = weak.lock()) alive->group_failed(group);
  });
  return store;
}

const SessionRecord* SessionStore::find(std::string_view client_id) const {
  const Session* session = impl_->find(client_id);
  return session == nullptr ? nullptr : &session->record;
}

std::vector<const SessionRecord*> SessionStore::all() const {
  std::vector<const SessionRecord*> out;
  out.reserve(impl_->sessions.size());
  for (const auto& [id, session] : impl_->sessions) out.push_back(&session.record);
  return out;
}

std::size_t SessionStore::size() const {
  return impl_->sessions.size();
}

Result<GroupId> SessionStore::create(std::string_view client_id, std::string_view owner, WallTime now) {
  if (client_id.size() > kMaxNameBytes || owner.size() > kMaxNameBytes) {
    return error(Errc::kTooLarge, "client id or owner longer than 1024 bytes");
  }
  if (impl_->find(client_id) != nullptr) {
    remove(client_id);
  } else if (impl_->sessions.size() >= kMaxSessions) {
    return error(Errc::kNoSpace, "too many sessions");
  }
  Session& session = impl_->sessions[std::string(client_id)];
  session.record.client_id = std::string(client_id);
  session.record.owner = std::string(owner);
  session.record.last_seen = now;
  return impl_->write(session_key(client_id, 'h'), header_value(session.record));
}

GroupId SessionStore::remove(std::string_view client_id) {
  const auto found = impl_->sessions.find(client_id);
  if (found == impl_->sessions.end()) return impl_->records.durable_group();
  const Session& session = found->second;
  for (const std::uint16_t id : session.record.incoming) impl_->records.erase(packet_key(client_id, 'i', id));
  for (const std::uint16_t id : session.record.releases) impl_->records.erase(packet_key(client_id, 'o', id));
  if (!session.filters.empty()) impl_->records.erase_prefix(session_key(client_id, 'f'));
  impl_->sessions.erase(found);
  return impl_->records.erase(session_key(client_id, 'h'));
}

GroupId SessionStore::touch(std::string_view client_id, WallTime last_seen) {
  Session* session = impl_->find(client_id);
  if (session == nullptr) return impl_->records.durable_group();
  session->record.last_seen = last_seen;
  return impl_->write(session_key(client_id, 'h'), header_value(session->record));
}

Result<GroupId> SessionStore::subscribe(std::string_view client_id, std::string_view filter,
                                        std::uint8_t qos) {
  Session* session = impl_->find(client_id);
  if (session == nullptr) return error(Errc::kNotFound, "no such session", std::string(client_id));
  if (filter.size() > kMaxTopicBytes) return error(Errc::kTooLarge, "filter longer than 1024 bytes");
  const std::uint32_t hash = filter_hash(filter);
  const auto place = std::lower_bound(session->filters.begin(), session->filters.end(), hash);
  if (place == session->filters.end() || *place != hash) {
    if (session->filters.size() >= kMaxSubscriptionsPerSession) {
      return error(Errc::kNoSpace, "too many subscriptions", std::string(client_id));
    }
    session->filters.insert(place, hash);
  }
  const char value[] = {kVersion, static_cast<char>(qos)};
  return impl_->write(session_key(client_id, 'f') + std::string(filter), {value, sizeof value});
}

GroupId SessionStore::unsubscribe(std::string_view client_id, std::string_view filter) {
  Session* session = impl_->find(client_id);
  if (session == nullptr) return impl_->records.durable_group();
  std::erase(session->filters, filter_hash(filter));
  return impl_->records.erase(session_key(client_id, 'f') + std::string(filter));
}

Status SessionStore::for_each_subscription(
    const std::function<void(std::string_view, std::string_view, std::uint8_t)>& found) const {
  return impl_->records.scan("s", [&](std::string_view key, std::string_view value) {
    ByteReader in(key.substr(1));
    const std::string_view client_id = in.text();
    if (in.byte() != 'f' || value.size() != 2) return;
    found(client_id, in.take(in.left()), static_cast<std::uint8_t>(value[1]));
  });
}

bool SessionStore::has_incoming(std::string_view client_id, std::uint16_t packet_id) const {
  const Session* session = impl_->find(client_id);
  return session != nullptr && session->record.incoming.contains(packet_id);
}

GroupId SessionStore::add_incoming(std::string_view client_id, std::uint16_t packet_id) {
  return impl_->add_packet(client_id, packet_id);
}

GroupId SessionStore::remove_incoming(std::string_view client_id, std::uint16_t packet_id) {
  if (Session* session = impl_->find(client_id)) session->record.incoming.erase(packet_id);
  return impl_->records.erase(packet_key(client_id, 'i', packet_id));
}

GroupId SessionStore::add_release(std::string_view client_id, std::uint16_t packet_id) {
  Session* session = impl_->find(client_id);
  if (session == nullptr) return impl_->records.durable_group();
  session->record.releases.insert(packet_id);
  return impl_->write(packet_key(client_id, 'o', packet_id), {});
}

GroupId SessionStore::remove_release(std::string_view client_id, std::uint16_t packet_id) {
  if (Session* session = impl_->find(client_id)) session->record.releases.erase(packet_id);
  return impl_->records.erase(packet_key(client_id, 'o', packet_id));
}

Result<GroupId> SessionStore::set_retained(const RetainedMessage& message) {
  return impl_->set_retained(message);
}

const RetainedMessage* SessionStore::retained(std::string_view topic) const {
  const auto found = impl_->retained.find(topic);
  return found == impl_->retained.end() ? nullptr : &found->second;
}

std::vector<const RetainedMessage*> SessionStore::all_retained() const {
  std::vector<const RetainedMessage*> out;
  out.reserve(impl_->retained.size());
  for (const auto& [topic, message] : impl_->retained) out.push_back(&message);
  return out;
}

}  // namespace decklog::persistence
