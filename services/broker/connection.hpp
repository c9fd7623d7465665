// One client's connection: bytes to frames, bytes out, acknowledgements in order, deadlines, a graceful end.
// It holds no buffer while idle: input is read into the engine's shared buffer, output comes from the
// engine's pool. Owner: the engine (and a pending wait). Thread: the engine's. What packets mean is the
// engine's business.
#pragma once

#include <boost/circular_buffer.hpp>
#include <list>
#include <memory>
#include <string>

#include "services/broker/pipe.hpp"
#include "services/broker/session_store.hpp"
#include "services/broker/timer_wheel.hpp"
#include "services/mqtt/decoder.hpp"
#include "services/mqtt/message.hpp"

namespace decklog::broker {

class Engine;
struct ClientSession;

enum class Phase : std::uint8_t {
  kAwaitConnect,    // half-open
  kAuthenticating,  // the policy is asked; still half-open
  kConnackPending,  // accepted, the session is being made durable
  kOpen,
  kClosing,    // to be detached at the end of this turn
  kLingering,  // detached: output is flushed, then our direction is shut, then input is discarded until the
               // peer's FIN
  kGone,
};

// An answer that waits for durability or for the policy; answers leave in the order of their requests.
struct PendingAnswer final {
  std::string bytes;  // empty: nothing to say, the place was only kept
  MessageKey message = 0;
  GroupKey group = 0;
  bool held = false;  // by an intercepted publish
};

struct ListenerInfo final {
  std::string name;
  Transport transport = Transport::kTcp;
};

struct Will final {
  mqtt::MessagePtr message;
  bool retain = false;
};

class Connection final : public PipeUser, public WheelEntry, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Engine& engine, std::unique_ptr<Pipe> pipe, const ListenerInfo& listener,
             boost::asio::ip::tcp::endpoint peer);

  void start();
  void on_readable() override;
  void on_writable() override;

  // Where to append packets; the engine flushes it at the end of the turn, or now when much has gathered.
  std::string& out();
  void commit_output();
  std::size_t backlog() const { return out_.size() - out_sent_; }
  void flush();

  // Sends `bytes` when everything before it has gone and its gates are open.
  void answer(std::string bytes, MessageKey message, GroupKey group);
  // Keeps a place for an answer that comes later through fill_answer().
  std::uint64_t hold_answer(GroupKey group);
  void fill_answer(std::uint64_t place, std::string bytes);
  void flush_answers();
  std::size_t answers_waiting() const { return answers_.size(); }
  // Whether some answer waits for exactly these groups or messages (after, up to and including).
  bool waits_between(const PendingAnswer& after, const PendingAnswer& through) const;

  // Reading goes on (after authentication, after answers went out).
  void resume_input();
  void linger();
  void destroy();

  // Tick at which something is overdue; see Engine::on_deadline().
  std::int64_t deadline() const;
  std::string peer_text() const;

  Phase phase = Phase::kAwaitConnect;
  bool end_seen = false;         // the peer has sent FIN, or the pipe is broken
  bool dirty = false;            // in the engine's list of connections to flush
  bool waits_for_store = false;  // in the engine's list of connections with gated answers
  std::uint16_t keep_alive_s = 0;
  std::int64_t last_input_tick = 0;
  std::int64_t fixed_deadline_tick = 0;  // of CONNECT or of lingering
  const char* close_cause = "";
  ClientSession* session = nullptr;
  std::unique_ptr<Will> will;
  std::unique_ptr<std::list<Connection*>::iterator> half_open;
  // The last topic the policy allowed to be routed, so that it is not asked again for each message of a
  // stream.
  std::string allowed_topic;
  const ListenerInfo& listener;
  Pipe& pipe() { return *pipe_; }

 private:
  bool accepts_input() const;
  bool output_full() const;
  void arm_read();
  bool read_once();
  bool took_all(IoResult result, std::size_t room);
  std::size_t consume(std::string_view bytes);
  void keep_rest(std::string_view rest);
  void drain();
  void add_answer(PendingAnswer answer);

  Engine& engine_;
  std::unique_ptr<Pipe> pipe_;
  std::string partial_;  // the beginning of a packet
  std::string out_;
  std::size_t out_sent_ = 0;
  boost::circular_buffer<PendingAnswer> answers_;
  std::uint64_t first_answer_ = 0;  // place of answers_.front()
  boost::asio::ip::tcp::endpoint peer_;
  bool read_armed_ = false;
  bool write_armed_ = false;
  bool shut_ = false;
  bool input_paused_ = false;  // too many answers wait; until half of them have gone
};

}  // namespace decklog::broker
