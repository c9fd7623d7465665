// Pipelined publishing into one stream: many messages on the way, acknowledgements counted from the front.
//
// Owned by NatsUplink, lives on its executor, one per stream. Batches run one after the other. A batch ends
// when all are acknowledged, or, after the first failure, when what was on the way has been answered or its
// deadline passed. Limits: kWindowMessages and kWindowBytes on the way, kMaxBatches waiting (more are refused
// with kUnavailable).
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/uplink/jetstream.hpp"
#include "services/uplink/nats_wire.hpp"

namespace decklog::uplink {

class NatsPublisher final : public std::enable_shared_from_this<NatsPublisher> {
 public:
  static constexpr std::size_t kWindowMessages = 512;
  static constexpr std::size_t kWindowBytes = 4 * 1024 * 1024;
  static constexpr std::size_t kMaxBatches = 64;

  // first_token: the number space of this publisher's acknowledgements.
  NatsPublisher(boost::asio::any_io_executor executor, std::shared_ptr<Mailbox> mailbox, Duration ack_timeout,
                std::uint64_t first_token);

  void attach(std::shared_ptr<NatsWire> wire) { wire_ = std::move(wire); }
  // The link is gone: the batch on the way ends with what was acknowledged, the waiting ones with the error.
  void detach(const Error& reason);

  void submit(std::vector<NatsMessage> batch, Callback<std::size_t> done);
  // False when the token is not of this publisher.
  bool on_reply(std::uint64_t token, const NatsMessage& reply);
  void on_denied(const std::string& subject, const std::string& detail);

  // Highest stream sequence acknowledged to this process.
  std::uint64_t last_acknowledged() const { return last_acknowledged_; }
  void forget_acknowledged() { last_acknowledged_ = 0; }

 private:
  struct Batch {
    std::vector<NatsMessage> messages;  // emptied as they are sent
    std::vector<std::string> subjects;
    std::vector<std::size_t> sizes;
    std::vector<bool> answered;
    std::vector<bool> acknowledged;
    std::size_t sent = 0;
    std::size_t outstanding = 0;
    std::size_t outstanding_bytes = 0;
    std::size_t front = 0;         // acknowledged without a gap
    std::optional<Error> failure;  // the first
    Callback<std::size_t> done;
  };

  void pump();
  void answer(std::size_t index, Result<jetstream::PubAck> result);
  void maybe_finish();
  void finish();
  void arm();

  std::shared_ptr<Mailbox> mailbox_;
  Duration ack_timeout_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<NatsWire> wire_;
  std::deque<Batch> waiting_;
  std::optional<Batch> active_;
  const std::uint64_t first_token_;
  std::uint64_t base_;  // token of the active batch's first message
  std::uint64_t last_acknowledged_ = 0;
  bool progressed_ = false;  // an answer came since the timer was armed
};

}  // namespace decklog::uplink
