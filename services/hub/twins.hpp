// Twins: answers from the cache, reported patches kept until the fleet has them, desired changes without a
// gap. Private to services/hub. Thread: the executor's.
//
// Reported: a patch is merged, written and answered at once. What the fleet does not have yet is the
// difference between the document as it last was there and ours; it is merged over whatever is there now
// (three-way) and written with compare-and-set. Desired: a client that misses a change gets the difference
// between what it saw last and what is there when it comes back. Answers to GET go before later patches.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "persistence/twin_store.hpp"
#include "services/hub/head.hpp"
#include "services/hub/head_clients.hpp"
#include "services/hub/head_remarks.hpp"

namespace decklog::hub {

class Twins final {
 public:
  struct Parts {
    loop::Surroundings& surroundings;
    uplink::Uplink& uplink;
    Clients& clients;
    Remarks& remarks;
    persistence::TwinStore& store;
    HeadStats& stats;
    std::function<void(const Identity&, std::string_view patch)> changed;  // a reported patch was accepted
    std::weak_ptr<void> alive;
  };
  explicit Twins(Parts parts) : parts_(std::move(parts)) {}

  void get(const Identity& client, const std::string& rid);
  // True when the patch was taken.
  bool patch(const Identity& client, const std::string& rid, std::string_view body);
  void on_desired(const Identity& client, const uplink::TwinValue& value);
  // Connected, or subscribed to desired changes.
  void on_ready(const Identity& client);
  void on_link(bool up);
  void tick();

 private:
  struct Live {                        // what is not worth a disk
    std::vector<std::string> waiting;  // rids of GETs
    MonoTime waiting_since, waiting_until;
    int fetching = 0;    // of desired and reported
    bool fresh = false;  // as the fleet has it, on this link
    bool watched = false;
    bool sending = false;
    MonoTime retry_at;
    MonoTime unsent_since;  // the oldest patch the fleet does not have
    Duration pause{};
    std::optional<boost::json::object>
        seen;  // desired, as the client last saw it, when that is not the newest
  };
  using Name = persistence::TwinName;

  Live& live(const Name& name) { return live_[name]; }
  bool put(const Name& name, const persistence::TwinRecord& record);
  void fetch(const Name& name);
  void fetched_reported(const Name& name, const uplink::TwinValue& value);
  void fetch_over(const Name& name);
  void answer_waiting(const Name& name, const char* source);
  void answer(const Name& name, const std::string& rid, const char* source, MonoTime asked);
  void fail(const Name& name, const std::string& rid, int status, std::string_view why);
  void take_desired(const Name& name, const uplink::TwinValue& value);
  void catch_up(const Name& name);
  void watch(const Name& name);
  void send_reported(const Name& name);
  void sent(const Name& name, const std::string& document, const Result<std::uint64_t>& revision);
  void retry_later(const Name& name, const Error& why);

  Parts parts_;
  bool link_up_ = false;
  std::size_t sending_ = 0;
  std::map<Name, Live> live_;
  std::set<Name> pending_;
};

}  // namespace decklog::hub
