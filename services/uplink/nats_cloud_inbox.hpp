// Cloud-to-device messages of one device: a durable pull consumer, explicit acknowledgement.
//
// Owned by NatsUplink for one connection, on its executor. At most kMaxUnsettled messages are out at once;
// one that is not settled within kAckWait, or whose connection ended, is delivered again by the server.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "services/uplink/jetstream.hpp"
#include "services/uplink/nats_wire.hpp"

namespace decklog::uplink {

class NatsCloudInbox final : public std::enable_shared_from_this<NatsCloudInbox> {
 public:
  static constexpr int kMaxUnsettled = 16;
  static constexpr Duration kAckWait = std::chrono::seconds(60);
  static constexpr Duration kRetryDelay = std::chrono::seconds(2);  // after Settle::kRetry
  static constexpr Duration kPullExpires = std::chrono::seconds(25);

  struct Events {
    std::function<std::uint64_t()> next_tag;
    std::function<void(CloudMessage)> on_message;
    std::function<void(const Error&)> on_failed;
  };
  NatsCloudInbox(std::shared_ptr<NatsWire> wire, std::string device, Events events);

  void start();
  void stop();
  void tick(SteadyTime now);
  // False when the tag is not of this inbox.
  bool settle(std::uint64_t tag, Settle how);

 private:
  struct Unsettled {
    std::string ack_subject;
    SteadyTime until;
  };
  void restart();
  void pull();
  void arrived(NatsMessage message);
  void failed(const Error& reason);

  std::shared_ptr<NatsWire> wire_;
  std::string device_;
  std::string consumer_;
  Events events_;
  bool running_ = false;
  std::uint64_t attempt_ = 0;
  std::uint64_t subscription_ = 0;
  std::string deliver_to_;
  int expected_ = 0;  // of the pull that is out; 0 = none is
  std::optional<SteadyTime> pull_until_;
  std::optional<SteadyTime> retry_at_;
  std::optional<Error> last_error_;
  std::unordered_map<std::uint64_t, Unsettled> unsettled_;
};

// Properties travel as repeated headers "Decklog-Property: <name>=<value>", both percent-encoded.
std::vector<std::pair<std::string, std::string>> properties_of(const NatsMessage& message);
void add_properties(NatsMessage& message, const std::vector<std::pair<std::string, std::string>>& properties);

}  // namespace decklog::uplink
