// Cloud-to-device messages: handed to the device's client, acknowledged upstream when the client
// acknowledged, so at least once. Nothing is stored here: the fleet keeps what is not settled, and what comes
// again while its copy is still with the client is that copy. Given up and rejected upstream: past its
// "$.exp", or unacknowledged at the end of kMaxCloudTries connections, which are counted on disk. Private to
// services/hub. Thread: the executor's. Bound: kMaxCloudMessages; a message nobody takes within
// kCloudMessageHeld goes back.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "persistence/tally_store.hpp"
#include "services/hub/head_clients.hpp"
#include "services/hub/head_remarks.hpp"

namespace decklog::hub {

class CloudMail final {
 public:
  // Tokens of ours among the broker's deliveries.
  static constexpr std::uint64_t kTokenMark = 1ull << 63;

  CloudMail(loop::Surroundings& surroundings, uplink::Uplink& uplink, Clients& clients, Remarks& remarks,
            persistence::TallyStore& tries)
      : surroundings_(surroundings), uplink_(uplink), clients_(clients), remarks_(remarks), tries_(tries) {}

  void on_message(const uplink::CloudMessage& message);
  // Connected, or subscribed.
  void on_ready(const Identity& device);
  // Its connection has ended; the session may stay.
  void on_gone(const std::string& device);
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
    std::string name;       // of the message; see name_of()
    std::uint64_t tag = 0;  // 0 = void: its link is gone, or it went back
    MonoTime until;
  };
  using SentAt = std::map<std::uint64_t, Sent>::iterator;

  static std::string name_of(const uplink::CloudMessage& message);
  SentAt find_copy(const std::string& name);
  bool past_its_time(const uplink::CloudMessage& message) const;
  bool tried_enough(const std::string& name) const;
  void reject(const std::string& device, std::uint64_t tag, const std::string& name, const char* why);
  // Takes the copy back from the session; false when it is on its way to the client.
  bool take_back(SentAt sent);
  void drain(const std::string& device);

  loop::Surroundings& surroundings_;
  uplink::Uplink& uplink_;
  Clients& clients_;
  Remarks& remarks_;
  persistence::TallyStore& tries_;  // by name: connections that ended over it
  std::uint64_t next_ = 1;
  std::map<std::string, std::deque<Held>> held_;  // by device, in order
  std::map<std::uint64_t, Sent> sent_;            // by token
  std::size_t count_ = 0;                         // held and sent
  std::set<std::string> acknowledged_;            // names; upstream may not have heard of it
};

}  // namespace decklog::hub
