// One session of the NATS uplink on its executor: requests with deadlines, batches, subscriptions. Nothing
// here blocks.
//
// Owned by NatsUplink for as long as the connection lives; every handler runs on the executor and none after
// the wire was closed, except that close() fails what is pending (posted, never inline). All replies come in
// over one subscription below the device's own inbox prefix; the last token of the subject says whose they
// are.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "services/uplink/mailbox.hpp"
#include "services/uplink/nats_connection.hpp"
#include "services/uplink/worker.hpp"

namespace decklog::uplink {

using SteadyTime = std::chrono::steady_clock::time_point;

class NatsWire final : public std::enable_shared_from_this<NatsWire> {
 public:
  static constexpr std::size_t kMaxRequests = 16384;  // in flight; more are refused
  static constexpr std::size_t kMaxInboundBytes =
      64 * 1024 * 1024;  // waiting for a slow executor; then the link is cut

  struct Events {
    std::function<void()> on_ready;  // connected and the round trip works
    std::function<void(LinkChange, LinkCause, const std::string&)> on_end;  // once, ends the wire
    std::function<void(std::uint64_t token, NatsMessage)> on_publish_reply;
    std::function<void(const std::string& subject, const std::string& detail)> on_denied;
  };

  NatsWire(boost::asio::any_io_executor executor, std::shared_ptr<Mailbox> mailbox, Worker& worker,
           NatsOptions options);

  void open(Events events);
  // Fails everything pending; the socket is closed by the worker.
  void close(const Error& reason);

  void request(NatsMessage message, Duration timeout, Callback<NatsMessage> done);
  // Through the server and back to ourselves.
  void ping(Duration timeout, Callback<void> done);
  // Fire and forget, in order. failed: index of the first message that could not be handed over.
  void send(std::vector<NatsMessage> messages, std::function<void(std::size_t, Error)> failed = {});
  std::string publish_reply_subject(std::uint64_t token) const;

  using Handler = std::function<void(NatsMessage)>;
  // Dropped by unsubscribe() with the returned handle, or with the wire.
  std::uint64_t subscribe(const std::string& subject, Handler handler, std::function<void(Error)> failed);
  void unsubscribe(std::uint64_t handle);
  std::string private_subject(const std::string& name) const { return inbox_ + ".w." + name; }

  const NatsOptions& options() const { return options_; }
  boost::asio::any_io_executor executor() const { return executor_; }

 private:
  struct Request {
    std::string subject;
    Callback<NatsMessage> done;
    std::multimap<SteadyTime, std::uint64_t>::iterator deadline;
  };
  // What nats.c's threads hand over. Apart from the wire, so that they never hold the wire itself.
  struct Inbound {
    struct Item {
      std::uint64_t subscription = 0;  // 0 = the reply inbox
      NatsMessage message;
    };
    std::mutex mutex;
    std::vector<Item> items;
    std::size_t bytes = 0;
    bool posted = false;
  };

  void opened(NatsConnection::Opened result);
  NatsConnection::Handler inbound_handler(std::uint64_t subscription);
  void drain_inbound();
  void dispatch_reply(NatsMessage message);
  void finish_request(std::uint64_t token, Result<NatsMessage> result);
  void denied(const std::string& subject, const std::string& detail);
  void end(LinkChange change, LinkCause cause, const std::string& detail);
  void fail_pending(const Error& reason);
  void arm();

  boost::asio::any_io_executor executor_;
  std::shared_ptr<Mailbox> mailbox_;
  Worker& worker_;
  NatsOptions options_;
  std::string inbox_;
  Events events_;
  std::shared_ptr<NatsConnection> connection_;
  bool ended_ = false;
  boost::asio::steady_timer timer_;
  std::uint64_t last_token_ = 0;
  std::unordered_map<std::uint64_t, Request> requests_;
  std::multimap<SteadyTime, std::uint64_t> deadlines_;
  struct Subscription {
    Handler handler;
    std::shared_ptr<std::uint64_t> id;  // nats.c's, touched by the worker only
  };
  std::unordered_map<std::uint64_t, Subscription> subscriptions_;
  std::shared_ptr<Inbound> inbound_ = std::make_shared<Inbound>();
};

}  // namespace decklog::uplink
