// What the hub's log hears of clients coming and going: enough for the ClientSession machine, and not more
// than a burst is worth. Private to services/hub. Thread: the executor's.
//
// A connect counts once its client has proved who it is, so that nobody puts another one off. Refusals of
// known identities are written twice in kRefusalLogWindow, others once as a remark; all are counted. While
// the store refuses messages their senders are cut off and come back without end: kCutsWritten times that is
// written, then counted and said in sums, until the client stays for kBackForGood or goes for another reason.
#pragma once

#include <map>
#include <string>

#include "services/hub/head.hpp"
#include "services/hub/head_remarks.hpp"

namespace decklog::hub {

// As the log and people know a client: identities by their id, local clients by user and client id.
std::string client_name(std::string_view identity, std::string_view client_id);

class SessionLog final {
 public:
  SessionLog(HubLog& log, loop::Surroundings& surroundings, Remarks& remarks, HeadStats& stats)
      : log_(log), surroundings_(surroundings), remarks_(remarks), stats_(stats) {}

  // Before anything is looked at. False: it comes too often and is put off.
  bool may_try(const std::string& name, const std::string& peer, const std::string& present_peer);
  // It is who it says. False: one connect too many.
  bool arrived(const std::string& name, const std::string& peer, const std::string& present_peer);
  // `known`: an identity there is, so that its name may be kept.
  void refused(const std::string& name, bool known, const std::string& cause, const std::string& peer);
  void connected(const std::string& name, bool persistent, const std::string& peer);
  void gone(const std::string& name, std::string_view cause, const std::string& peer);
  void session_ended(const std::string& name, std::string_view why);
  // Clients that were admitted and never heard of again.
  void tick();

 private:
  HeadStats::Client& counters(const std::string& name);
  struct Burst {  // of connections that ended because a message was not taken
    MonoTime cut, told;
    int cuts = 0;
    std::uint64_t more = 0;  // not written
    std::string cause, peer;
    bool arriving = false, here = false;  // on a connection that is not written
    bool persistent = false;
    MonoTime since;
  };
  bool arrives_quietly(const std::string& name);
  bool goes_quietly(const std::string& name, std::string_view cause);
  void count_cut(const std::string& name, std::string_view cause);
  void write_down(const std::string& name, Burst& burst);
  void tell(const std::string& name, Burst& burst);
  void tick_bursts(MonoTime now);
  void put_off(const std::string& name, const std::string& peer, const std::string& present_peer);

  HubLog& log_;
  loop::Surroundings& surroundings_;
  Remarks& remarks_;
  HeadStats& stats_;
  Rate written_{kRefusalLogWindow, kRefusalsLoggedPerWindow};
  Rate storms_{kStormLogWindow, kRefusalsLoggedPerWindow};
  Rate quiet_{kStormLogWindow, kQuietConnects};
  std::map<std::string, Burst> bursts_;
  std::map<std::string, MonoTime> admitted_;
};

}  // namespace decklog::hub
