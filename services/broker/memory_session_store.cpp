#include "services/broker/memory_session_store.hpp"

#include <boost/asio/post.hpp>

namespace decklog::broker {
namespace {

struct Body final {
  std::string topic;
  std::string payload;
};

struct Reference final {
  std::shared_ptr<const Body> body;
  mqtt::Qos qos = mqtt::Qos::kAtLeastOnce;
  bool retain = false;
  std::uint32_t run = 0;
};

struct Record final {
  std::string owner;
  QueueKey queue = 0;
  std::map<std::string, mqtt::Qos, std::less<>> subscriptions;
  std::set<std::uint16_t> incoming;
  std::set<std::uint16_t> releases;
};

// All that a crash leaves behind. A copy of it is the rollback point.
struct Content final {
  std::map<std::string, Record, std::less<>> sessions;
  std::map<QueueKey, std::map<MessageKey, Reference>> queues;
  std::map<std::string, std::pair<std::string, mqtt::Qos>, std::less<>> retained;
};

}  // namespace

struct MemorySessionStore::Impl final : std::enable_shared_from_this<Impl> {
  Impl(boost::asio::any_io_executor run_on, Commit how) : executor(std::move(run_on)), commit_how(how) {}

  // Operations are applied to `durable` only when their group is decided; what is not decided is a list of
  // closures.
  GroupKey stage(std::function<void(Content&)> operation) {
    operation(view);
    staged.push_back(std::move(operation));
    if (commit_how == Commit::kNextTurn && !posted) {
      posted = true;
      boost::asio::post(executor, [self = shared_from_this()] {
        self->posted = false;
        self->decide({});
      });
    }
    return group;
  }

  void decide(const Status& status) {
    if (staged.empty()) return;
    CommitReport report;
    report.through_group = group++;
    report.through_message = last_message;
    report.status = status;
    if (status) {
      for (const auto& operation : staged) operation(durable);
    } else {
      view = durable;
    }
    staged.clear();
    boost::asio::post(executor, [self = shared_from_this(), report, run_now = run] {
      if (run_now != self->run) return;
      if (self->hooks.committed) self->hooks.committed(report);
      const auto waiting = std::exchange(self->waiting, {});
      for (const auto queue : waiting) {
        if (self->hooks.readable) self->hooks.readable(queue);
      }
    });
  }

  boost::asio::any_io_executor executor;
  Commit commit_how;
  StoreHooks hooks;
  std::uint32_t run = 0;
  Content durable;
  Content view;
  std::vector<std::function<void(Content&)>> staged;
  std::set<QueueKey> waiting;
  GroupKey group = 1;
  MessageKey last_message = 0;
  QueueKey last_queue = 0;
  bool posted = false;
};

MemorySessionStore::MemorySessionStore(boost::asio::any_io_executor executor, Commit commit)
    : impl_(std::make_shared<Impl>(std::move(executor), commit)) {}
MemorySessionStore::~MemorySessionStore() {
  ++impl_->run;
}

void MemorySessionStore::commit() {
  impl_->decide({});
}
void MemorySessionStore::fail(const Error& failure) {
  impl_->decide(failure);
}

void MemorySessionStore::crash() {
  impl_->staged.clear();
  impl_->view = impl_->durable;
  impl_->hooks = {};
  impl_->waiting.clear();
  ++impl_->run;
}

std::size_t MemorySessionStore::messages() const {
  std::size_t count = 0;
  for (const auto& [queue, messages] : impl_->view.queues) count += messages.size();
  return count;
}
std::uint64_t MemorySessionStore::next_message() const {
  return impl_->last_message + 1;
}

void MemorySessionStore::start(StoreHooks hooks) {
  ++impl_->run;
  impl_->hooks = std::move(hooks);
}

Result<std::vector<StoredSession>> MemorySessionStore::load_sessions() {
  std::vector<StoredSession> sessions;
  for (const auto& [id, record] : impl_->view.sessions) {
    StoredSession session{id, record.owner, record.queue, {}, {}, {}};
    for (const auto& [filter, qos] : record.subscriptions) session.subscriptions.push_back({filter, qos});
    session.incoming.assign(record.incoming.begin(), record.incoming.end());
    session.releases.assign(record.releases.begin(), record.releases.end());
    sessions.push_back(std::move(session));
  }
  return sessions;
}

Result<std::vector<StoredRetained>> MemorySessionStore::load_retained() {
  std::vector<StoredRetained> retained;
  for (const auto& [topic, message] : impl_->view.retained) {
    retained.push_back({topic, message.first, message.second});
  }
  return retained;
}

Result<SessionStore::Created> MemorySessionStore::create(std::string_view client_id, std::string_view owner) {
  const auto queue = ++impl_->last_queue;
  const auto group =
      impl_->stage([id = std::string(client_id), owner = std::string(owner), queue](Content& content) {
        content.sessions[id] = Record{owner, queue, {}, {}, {}};
        content.queues[queue];
      });
  return Created{queue, group};
}

GroupKey MemorySessionStore::remove(std::string_view client_id, std::string_view) {
  return impl_->stage([id = std::string(client_id)](Content& content) {
    const auto found = content.sessions.find(id);
    if (found == content.sessions.end()) return;
    content.queues.erase(found->second.queue);
    content.sessions.erase(found);
  });
}

Result<GroupKey> MemorySessionStore::subscribe(std::string_view client_id, std::string_view filter,
                                               mqtt::Qos qos) {
  return impl_->stage([id = std::string(client_id), filter = std::string(filter), qos](Content& content) {
    content.sessions[id].subscriptions[filter] = qos;
  });
}

GroupKey MemorySessionStore::unsubscribe(std::string_view client_id, std::string_view filter) {
  return impl_->stage([id = std::string(client_id), filter = std::string(filter)](Content& content) {
    content.sessions[id].subscriptions.erase(filter);
  });
}

GroupKey MemorySessionStore::add_incoming(std::string_view client_id, std::uint16_t packet_id) {
  return impl_->stage([id = std::string(client_id), packet_id](Content& content) {
    content.sessions[id].incoming.insert(packet_id);
  });
}
GroupKey MemorySessionStore::remove_incoming(std::string_view client_id, std::uint16_t packet_id) {
  return impl_->stage([id = std::string(client_id), packet_id](Content& content) {
    content.sessions[id].incoming.erase(packet_id);
  });
}
GroupKey MemorySessionStore::add_release(std::string_view client_id, std::uint16_t packet_id) {
  return impl_->stage([id = std::string(client_id), packet_id](Content& content) {
    content.sessions[id].releases.insert(packet_id);
  });
}
GroupKey MemorySessionStore::remove_release(std::string_view client_id, std::uint16_t packet_id) {
  return impl_->stage([id = std::string(client_id), packet_id](Content& content) {
    content.sessions[id].releases.erase(packet_id);
  });
}

Result<GroupKey> MemorySessionStore::set_retained(const StoredMessageView& message) {
  return impl_->stage([topic = std::string(message.topic), payload = std::string(message.payload),
                       qos = message.qos](Content& content) {
    if (payload.empty()) {
      content.retained.erase(topic);
    } else {
      content.retained[topic] = {payload, qos};
    }
  });
}

Result<MessageKey> MemorySessionStore::put(const StoredMessageView& message,
                                           std::span<const QueueTarget> targets) {
  const auto key = ++impl_->last_message;
  auto body = std::make_shared<const Body>(Body{std::string(message.topic), std::string(message.payload)});
  impl_->stage([body, key, run = impl_->run,
                targets = std::vector<QueueTarget>(targets.begin(), targets.end())](Content& content) {
    for (const auto& target : targets) {
      const auto queue = content.queues.find(target.queue);
      if (queue != content.queues.end()) queue->second[key] = Reference{body, target.qos, target.retain, run};
    }
  });
  return key;
}

bool MemorySessionStore::fetch(QueueKey queue, MessageKey& cursor, std::size_t max_messages,
                               std::size_t max_bytes, std::vector<QueuedMessage>& out) {
  const auto found = impl_->durable.queues.find(queue);
  std::size_t bytes = 0;
  std::size_t count = 0;
  if (found != impl_->durable.queues.end()) {
    for (auto at = found->second.upper_bound(cursor); at != found->second.end(); ++at) {
      const auto& [key, reference] = *at;
      // Acknowledged in a group that is not decided yet: not to be handed out again.
      const auto seen = impl_->view.queues.find(queue);
      if (seen == impl_->view.queues.end() || !seen->second.contains(key)) continue;
      if (count >= max_messages || (count > 0 && bytes >= max_bytes)) return true;
      QueuedMessage message;
      message.key = key;
      message.packet_id = static_cast<std::uint16_t>(key % 65'535 + 1);
      message.qos = reference.qos;
      message.retain = reference.retain;
      message.from_earlier_run = reference.run != impl_->run;
      message.topic = reference.body->topic;
      message.payload = reference.body->payload;
      message.keep = reference.body;
      bytes += message.topic.size() + message.payload.size();
      ++count;
      out.push_back(std::move(message));
      cursor = key;
    }
  }
  impl_->waiting.insert(queue);
  return false;
}

void MemorySessionStore::ack(QueueKey queue, MessageKey message) {
  impl_->stage([queue, message](Content& content) {
    const auto found = content.queues.find(queue);
    if (found != content.queues.end()) found->second.erase(message);
  });
}

void MemorySessionStore::rest(QueueKey queue) {
  impl_->waiting.erase(queue);
}

}  // namespace decklog::broker
