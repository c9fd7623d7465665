// Routing and store-and-forward: one durable copy of a message, a queue for each endpoint and priority,
// delivery with a window, reclaimed when the receiver has it. Upstream batches are bounded and go in order;
// (epoch, message id) name each message for ever. A copy is kept until the fleet's checkpoint says that its
// stream is still the one that took it. Owner: Hub. Thread: the hub's executor. Bounds: the constants below,
// and the message store's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>

#include "persistence/message_store.hpp"
#include "services/hub/forwarder_stats.hpp"
#include "services/hub/parts.hpp"
#include "services/loop/clock.hpp"
#include "services/routing/route.hpp"

namespace decklog::hub {

inline constexpr std::size_t kUpstreamBatch = 256;  // messages
inline constexpr std::size_t kModuleWindow = 64;    // sent to one input and not acknowledged
inline constexpr Duration kOfferAgainFirst = std::chrono::milliseconds(100);  // to a module that gave it back
inline constexpr Duration kOfferAgainCap = std::chrono::seconds(30);
// Of the store, for one priority of an endpoint: a module that never comes, or a fleet that is out of reach
// for weeks, leaves room for what others send to each other.
inline constexpr std::uint64_t kEndpointPercent = 80;
inline constexpr std::size_t kMaxMessageBodyBytes = 256 * 1024;

class Forwarder final : public MessageSink {
 public:
  Forwarder(boost::asio::any_io_executor executor, persistence::MessageStore& store,
            loop::Surroundings& surroundings, uplink::Uplink& uplink, HubLog& log, Duration default_ttl,
            std::uint64_t store_limit_bytes);

  void attach(ClientSide& clients) { clients_ = &clients; }
  // Opens the queues that earlier runs left, and the default route.
  Status start();

  void accept(Ingest message, std::function<void(bool)> done) override;
  Configured configure(const std::string& desired_json, std::uint64_t version) override;
  void on_client_ready(const Identity& client) override;
  void on_delivered(std::uint64_t token, bool acknowledged) override;
  void on_link(bool up) override;

  // From the message store's hooks.
  void on_committed(const persistence::Committed& committed);
  bool on_readable(persistence::QueueId queue);  // false = not one of ours
  void on_lost(const persistence::Loss& loss);
  static std::string origin_of(std::string_view head);  // what Loss::origins is to hold

  void tick();  // every second or so
  const ForwarderStats& stats() const { return stats_; }
  struct DrainRate {
    std::string endpoint;
    double per_second = 0;
  };
  std::vector<DrainRate> drain_rates() const;

 private:
  struct Lane {  // one priority of an endpoint
    persistence::QueueId queue;
    persistence::MessageId cursor;
    bool drained = false;
  };
  struct Endpoint {
    explicit Endpoint(const boost::asio::any_io_executor& executor) : again(executor) {}
    std::string id;  // "$upstream" or "module/input"
    std::string module, input;
    std::map<std::uint8_t, Lane> lanes;
    std::size_t in_flight = 0;
    std::uint64_t taken = 0, taken_before = 0;  // by the receiver; as of the last tick
    double rate = 0;                            // a second, smoothed over some
    // Modules. A delivery failed: nothing new goes out until all that is in flight has ended, then everything
    // from the oldest failed one on goes again, after a pause that grows while that one fails.
    bool failed = false;
    persistence::MessageId oldest_failed;
    Duration pause{};
    boost::asio::steady_timer again;
  };
  struct Sent {
    Endpoint* endpoint;
    persistence::QueueId queue;
    persistence::MessageId id;
    std::uint8_t priority = 0;
    std::string from, output;
    WallTime stored;
    MonoTime at;  // when it went out
  };
  struct Unanswered {  // accepted, not durable yet
    persistence::MessageId id;
    std::function<void(bool)> done;
    std::string from, output;
    MonoTime since;
  };

  Endpoint& endpoint(const std::string& id);
  Result<Lane*> lane(Endpoint& endpoint, std::uint8_t priority);
  bool take(Endpoint& endpoint, std::size_t most, std::vector<Sent>& sent,
            std::vector<persistence::Delivery>& messages);
  void pump(Endpoint& endpoint);
  void pump_module(Endpoint& endpoint);
  void pump_starved(const Endpoint& served);
  void pump_upstream(Endpoint& endpoint);
  void published(std::vector<Sent> batch, const Result<std::size_t>& count);
  void confirm(std::vector<Sent> batch);
  void count_sent(const Sent& sent, const Instant& now);
  void rewind(Endpoint& endpoint);
  void delivery_failed(Endpoint& endpoint, persistence::MessageId id);
  void offer_again(Endpoint& endpoint);
  void retry_later();
  Status load_epoch();

  boost::asio::any_io_executor executor_;
  persistence::MessageStore& store_;
  loop::Surroundings& surroundings_;
  uplink::Uplink& uplink_;
  HubLog& log_;
  Duration default_ttl_;
  persistence::QueueLimits limits_;
  ClientSide* clients_ = nullptr;
  routing::RouteSet routes_;
  std::vector<persistence::RouteId> route_ids_;
  persistence::RouteId unrouted_;
  std::map<std::string, std::unique_ptr<Endpoint>> endpoints_;
  std::map<persistence::QueueId, Endpoint*> by_queue_;
  std::deque<Unanswered> waiting_;
  std::unordered_map<std::uint64_t, Sent> sent_;  // by token
  std::uint64_t next_token_ = 1;
  std::uint64_t epoch_ = 0;
  bool link_up_ = false, publishing_ = false;
  bool starved_ = false;  // an input could not be served; looked at again with the next acknowledgement
  std::string stream_;    // identity of the stream upstream; empty = not known
  boost::asio::steady_timer retry_;
  std::vector<routing::Delivery> deliveries_;
  MonoTime ticked_;
  ForwarderStats stats_;
};

}  // namespace decklog::hub
