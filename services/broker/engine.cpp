#include "services/broker/engine.hpp"

#include <boost/asio/post.hpp>
#include <limits>

#include "services/broker/listener.hpp"

namespace decklog::broker {
namespace {

using boost::asio::ip::tcp;

constexpr std::size_t kSpareBuffers = 32;
constexpr std::size_t kSpareBufferBytes = 256u << 10;  // larger ones are given back to the heap
constexpr std::size_t kFirstBufferBytes = 4096;
constexpr std::int64_t kExpiryEveryTicks = 60 * Engine::kTicksPerSecond;

std::int64_t to_ticks(Duration duration) {
  using Tick = std::chrono::duration<std::int64_t, std::ratio<1, Engine::kTicksPerSecond>>;
  return std::chrono::ceil<Tick>(duration).count();
}

}  // namespace

Engine::Engine(boost::asio::io_context& context, BrokerOptions options, BrokerPolicy& policy,
               SessionStore& store)
    : context_(context),
      options_(std::move(options)),
      policy_(policy),
      store_(store),
      clock_(context),
      clock_start_(std::chrono::steady_clock::now()),
      retained_(options_.limits.retained),
      read_buffer_(kReadBufferBytes) {
  trouble_tick_.fill(-kTicksPerSecond);
}

Engine::~Engine() = default;

Status Engine::open() {
  store_.start({[this](const CommitReport& report) { on_committed(report); },
                [this](QueueKey queue) { on_readable_queue(queue); }});
  if (auto loaded = load(); !loaded) return loaded;
  for (const auto& options : options_.listeners) {
    auto listener = std::make_unique<Listener>(*this, options);
    if (auto opened = listener->open(); !opened) {
      for (auto& earlier : listeners_) earlier->close();
      return opened;
    }
    listeners_.push_back(std::move(listener));
  }
  return {};
}

std::uint16_t Engine::port(std::string_view listener) const {
  for (const auto& each : listeners_) {
    if (each->name() == listener) return each->port();
  }
  return 0;
}

// ---- connections come and go
// ------------------------------------------------------------------------------------

void Engine::refuse_connection(const char* why) {
  ++stats_.refused_full;
  trouble(0, std::string("connection refused: ") + why);
}

void Engine::accepted(Socket socket, const ListenerInfo& info, TlsContext* tls) {
  boost::system::error_code failed;
  const auto peer = socket.remote_endpoint(failed);
  if (failed || closed_) return;
  if (connections_.size() >= options_.limits.max_connections)
    return refuse_connection("connection limit reached");
  socket.set_option(tcp::no_delay(true), failed);
  socket.non_blocking(true, failed);
  std::unique_ptr<SocketPipe> lower =
      tls != nullptr ? make_tls_pipe(std::move(socket), *tls) : make_plain_pipe(std::move(socket));
  if (!lower) return refuse_connection("TLS session could not be made");
  std::unique_ptr<Pipe> pipe;
  if (info.transport == Transport::kWebSocket || info.transport == Transport::kSecureWebSocket) {
    WebSocketOptions web;
    web.max_message_bytes = options_.limits.max_packet_bytes;
    web.listener = info.name;
    web.peer = peer.address().to_string() + ":" + std::to_string(peer.port());
    web.http = [weak = weak_from_this()](HttpRequest request, std::function<void(HttpAnswer)> done) {
      if (const auto self = weak.lock()) self->policy_.on_http(std::move(request), std::move(done));
    };
    pipe = make_web_socket_pipe(std::move(lower), std::move(web));
  } else {
    pipe = std::move(lower);
  }
  auto connection = std::make_shared<Connection>(*this, std::move(pipe), info, peer);
  connections_.emplace(connection.get(), connection);
  ++stats_.accepted;
  start_clock();
  connection->last_input_tick = tick();
  connection->fixed_deadline_tick = tick() + to_ticks(options_.limits.connect_deadline) + 1;
  connection->half_open = std::make_unique<std::list<Connection*>::iterator>(
      half_open_.insert(half_open_.end(), connection.get()));
  wheel_.arm(*connection, connection->fixed_deadline_tick);
  connection->start();
  if (half_open_.size() > options_.limits.max_half_open) {
    ++stats_.half_open_evicted;
    trouble(1, "half-open connection limit reached: the oldest is closed");
    auto& oldest = *half_open_.front();
    leave_half_open(oldest);
    oldest.end_seen = true;  // no lingering: whoever says nothing would keep a place by not ending either
    close(oldest, "half-open-limit");
  }
}

void Engine::leave_half_open(Connection& connection) {
  if (!connection.half_open) return;
  half_open_.erase(*connection.half_open);
  connection.half_open.reset();
}

std::uint32_t Engine::packet_bound(const Connection& connection) const {
  return connection.phase == Phase::kOpen ? options_.limits.max_packet_bytes
                                          : options_.limits.max_connect_bytes;
}

void Engine::on_violation(Connection& connection, mqtt::Violation violation) {
  ++stats_.protocol_errors;
  close(connection, mqtt::describe(violation));
}

void Engine::close(Connection& connection, const char* cause) {
  switch (connection.phase) {
    case Phase::kClosing:
    case Phase::kGone:
      return;
    case Phase::kLingering:
      break;
    default:
      connection.phase = Phase::kClosing;
      connection.close_cause = cause;
  }
  closing_.push_back(connection.shared_from_this());
  schedule_turn_end();
}

void Engine::forget(Connection& connection) {
  wheel_.cancel(connection);
  leave_half_open(connection);
  connections_.erase(&connection);
  if (closed_ && connections_.empty() && all_closed_)
    boost::asio::post(context_, std::exchange(all_closed_, nullptr));
}

void Engine::lend_buffer(std::string& to) {
  if (to.capacity() >= kFirstBufferBytes) return;
  if (!spare_buffers_.empty()) {
    to = std::move(spare_buffers_.back());
    spare_buffers_.pop_back();
  }
}

void Engine::return_buffer(std::string&& buffer) {
  if (buffer.capacity() > kSpareBufferBytes || spare_buffers_.size() >= kSpareBuffers) return;
  buffer.clear();
  spare_buffers_.push_back(std::move(buffer));
}

// ---- the turn
// ---------------------------------------------------------------------------------------------------

void Engine::mark_dirty(Connection& connection) {
  connection.dirty = true;
  dirty_.push_back(connection.shared_from_this());
  schedule_turn_end();
}

void Engine::wants_input(Connection& connection) {
  hungry_.push_back(connection.shared_from_this());
  schedule_turn_end();
}

void Engine::wants_pump(Connection& connection) {
  if (connection.session != nullptr) queue_pump(*connection.session);
}

void Engine::waits_for_store(Connection& connection) {
  if (connection.waits_for_store) return;
  connection.waits_for_store = true;
  store_waiters_.push_back(connection.shared_from_this());
}

void Engine::schedule_turn_end() {
  if (turn_end_posted_) return;
  turn_end_posted_ = true;
  boost::asio::post(context_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->turn_end();
  });
}

void Engine::turn_end() {
  turn_end_posted_ = false;
  const auto pumping = std::exchange(pump_list_, {});
  for (const auto slot : pumping) {
    if (auto* session = slots_[slot].get(); session != nullptr) {
      session->in_pump_list = false;
      pump(*session);
    }
  }
  // What follows may add to these lists again; that is the next turn's.
  auto dirty = std::exchange(dirty_, {});
  for (const auto& connection : dirty) {
    connection->dirty = false;
    connection->flush();
  }
  const auto closing = std::exchange(closing_, {});
  for (const auto& connection : closing) {
    if (connection->phase == Phase::kClosing) teardown(*connection, connection->close_cause);
    if (connection->phase == Phase::kLingering && connection->end_seen) connection->destroy();
  }
  const auto hungry = std::exchange(hungry_, {});
  for (const auto& connection : hungry) connection->resume_input();
  dirty.clear();
  if (dirty_.empty()) dirty_ = std::move(dirty);  // keeps its capacity
}

// ---- durability
// -------------------------------------------------------------------------------------------------

void Engine::after_durable(GroupKey group, std::function<void(bool)> then) {
  // Nobody waits for somebody else's disk: what is durable already happens now.
  if (group <= durable_group_) return then(true);
  if (!after_durable_.empty() && after_durable_.back().first > group) group = after_durable_.back().first;
  after_durable_.emplace_back(group, std::move(then));
}

void Engine::on_committed(const CommitReport& report) {
  const bool ok = static_cast<bool>(report.status);
  if (!ok) {
    ++stats_.store_failed;
    trouble(2, "store failed: " + describe(report.status.error()));
  }
  // Answers that were waiting for what failed are never given: the client sends it again on its next
  // connection.
  auto waiters = std::exchange(store_waiters_, {});
  for (const auto& connection : waiters) {
    connection->waits_for_store = false;
    if (!ok && connection->waits_between({{}, durable_message_, durable_group_, false},
                                         {{}, report.through_message, report.through_group, false})) {
      close(*connection, "store-failed");
    }
  }
  settle_publishes(report);
  while (!after_durable_.empty() && after_durable_.front().first <= durable_group_) {
    const auto then = std::move(after_durable_.front().second);
    after_durable_.pop_front();
    then(ok);
  }
  for (const auto& connection : waiters) {
    if (connection->phase != Phase::kOpen) continue;
    connection->flush_answers();
    if (connection->answers_waiting() > 0) waits_for_store(*connection);
  }
}

void Engine::on_readable_queue(QueueKey queue) {
  const auto found = queues_.find(queue);
  if (found == queues_.end()) return;
  found->second->readable = true;
  queue_pump(*found->second);
}

// ---- time
// -------------------------------------------------------------------------------------------------------

void Engine::start_clock() {
  if (clock_running_) return;
  clock_running_ = true;
  on_clock();
}

void Engine::on_clock() {
  const auto elapsed = std::chrono::steady_clock::now() - clock_start_;
  const auto now = to_ticks(elapsed);
  wheel_.advance(now, [this](WheelEntry& entry) { on_deadline(static_cast<Connection&>(entry)); });
  if (now >= next_expiry_tick_) {
    next_expiry_tick_ = now + kExpiryEveryTicks;
    expire_sessions();
  }
  // Nothing to watch: no wake-ups. A session's expiry is counted in days and waits for the next connection.
  if (connections_.empty()) {
    clock_running_ = false;
    return;
  }
  clock_.expires_after(std::chrono::milliseconds(1000 / kTicksPerSecond));
  clock_.async_wait([weak = weak_from_this()](const boost::system::error_code& failed) {
    const auto self = weak.lock();
    if (!failed && self) self->on_clock();
  });
}

std::int64_t Connection::deadline() const {
  if (phase != Phase::kOpen) return fixed_deadline_tick;
  if (keep_alive_s == 0) return std::numeric_limits<std::int64_t>::max();
  // One and a half times the keep alive [MQTT-3.1.2-24]; the tick that may just have begun is granted.
  return last_input_tick + (keep_alive_s * 3 * Engine::kTicksPerSecond + 1) / 2 + 1;
}

void Engine::on_deadline(Connection& connection) {
  const auto due = connection.deadline();
  if (due == std::numeric_limits<std::int64_t>::max()) return;
  if (due > tick()) return wheel_.arm(connection, due);
  switch (connection.phase) {
    case Phase::kLingering:
      connection.end_seen = true;
      return close(connection, "");
    case Phase::kOpen:
      ++stats_.keep_alive_timeouts;
      return close(connection, "keep-alive");
    case Phase::kAwaitConnect:
      if (connection.pipe().busy()) {
        leave_half_open(connection);
        connection.fixed_deadline_tick = tick() + to_ticks(options_.limits.connect_deadline);
        return wheel_.arm(connection, connection.fixed_deadline_tick);
      }
      return close(connection, "connect-deadline");
    case Phase::kAuthenticating:
    case Phase::kConnackPending:
      return close(connection, "connect-deadline");
    case Phase::kClosing:
    case Phase::kGone:
      return;
  }
}

void Engine::expire_sessions() {
  const auto expiry = to_ticks(options_.limits.session_expiry);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    auto* session = slots_[i].get();
    if (session == nullptr || session->connection != nullptr) continue;
    if (tick() - session->offline_since_tick >= expiry) end_session(*session, "expired");
  }
}

// ---- the rest
// ---------------------------------------------------------------------------------------------------

void Engine::event(ClientChange change, const Client& client, std::string_view detail,
                   const Connection* connection, mqtt::Qos qos, bool kept) {
  const auto peer = connection != nullptr ? connection->peer_text() : std::string();
  policy_.on_client(ClientEvent{change, client, detail, peer, qos, kept});
}

void Engine::trouble(std::size_t kind, std::string_view what) {
  if (tick() - trouble_tick_[kind] < kTicksPerSecond) return;
  trouble_tick_[kind] = tick();
  policy_.on_trouble(what);
}

BrokerStats Engine::stats() const {
  stats_.connections = connections_.size();
  stats_.half_open = half_open_.size();
  stats_.sessions = sessions_.size();
  stats_.subscriptions = index_.subscriptions();
  stats_.retained = retained_.size();
  return stats_;
}

void Engine::close_all(std::function<void()> done) {
  for (auto& listener : listeners_) listener->close();
  closed_ = true;
  if (connections_.empty()) return boost::asio::post(context_, std::move(done));
  all_closed_ = std::move(done);
  for (auto& [raw, connection] : connections_) {
    connection->will.reset();  // it is we who go, not the client
    close(*connection, "server-shutdown");
  }
}

void Engine::kill() {
  closed_ = true;
  store_.start({});
  for (auto& listener : listeners_) listener->close();
  const auto connections = std::exchange(connections_, {});
  for (const auto& [raw, connection] : connections) {
    connection->phase = Phase::kGone;
    connection->session = nullptr;
    wheel_.cancel(*connection);
    connection->pipe().close();
  }
  half_open_.clear();
  clock_.cancel();
  dirty_.clear();
  closing_.clear();
  hungry_.clear();
  store_waiters_.clear();
  after_durable_.clear();
}

}  // namespace decklog::broker
