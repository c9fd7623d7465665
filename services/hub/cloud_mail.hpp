// Cloud-to-device messages: handed to the device's client, acknowledged upstream when the client
// acknowledged, so at least once. Nothing is stored here: the fleet keeps what is not settled. Private to
// services/hub. Thread: the executor's. Bound: kMaxCloudMessages; a message nobody takes within
// kCloudMessageHeld goes back.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "services/hub/head_clients.hpp"
#include "services/hub/head_remarks.hpp"

namespace decklog::hub {

class CloudMail final {
 public:
  // Tokens of ours among the broker's deliveries.
  static constexpr std::uint64_t kTokenMark = 1ull << 63;

  CloudMail(loop::Surroundings& surroundings, uplink::Uplink& uplink, Clients& clients, Remarks& remarks)
      : surroundings_(surroundings), uplink_(uplink), clients_(clients), remarks_(remarks) {}

  void on_message(const uplink::CloudMessage& message);
  // Connected, or subscribed.
  void on_ready(const Identity& device);
  void on_delivered(std::uint64_t token, bool acknowledged);
  void on_link(bool up);
  void tick();

 private:
  struct Held {
    uplink::CloudMessage message;
    MonoTime until;
  };
  struct Sent {
    std::string device;
    std::uint64_t tag = 0;  // 0 = void: its link is gone, or it went back
    MonoTime until;
  };
  void drain(const std::string& device);

  loop::Surroundings& surroundings_;
  uplink::Uplink& uplink_;
  Clients& clients_;
  Remarks& remarks_;
  std::uint64_t next_ = 1;
  std::map<std::string, std::deque<Held>> held_;  // by device, in order
  std::map<std::uint64_t, Sent> sent_;            // by token
  std::size_t count_ = 0;                         // held and sent
};

}  // namespace decklog::hub
