// Clients of the official SDK (and of plain MQTT) in a node process that does as it is told: sdk_puppet.js.
// Blocking; one thread. What goes wrong on the way ends the test with the program's own words.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/support/child_process.hpp"

namespace decklog::hub::test {

inline constexpr auto kPatience = std::chrono::seconds(60);  // for what takes a second on an idle machine

// The text of a JSON string.
inline std::string text(const boost::json::value& value) {
  return std::string(value.as_string());
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience = kPatience);

class Puppet final {
 public:
  // Listens below `directory`; start() runs the program, or somebody else does with command().
  explicit Puppet(const std::string& directory);
  ~Puppet();
  Puppet(const Puppet&) = delete;
  Puppet& operator=(const Puppet&) = delete;

  std::vector<std::string> command() const;
  std::string node_path() const;
  void start();
  void accept();
  void freeze() { process_.signal(SIGSTOP); }  // reads nothing more, closes nothing

  struct Answer {
    bool ok = false;
    boost::json::value value;  // what it gave
    std::string error, message;
  };
  // {"do": what, "as": who, ...more}
  Answer call(const std::string& what, const std::string& as, boost::json::object more = {});
  // Without waiting; the number for answer().
  std::uint64_t begin(const std::string& what, const std::string& as, boost::json::object more = {});
  Answer answer(std::uint64_t number);
  bool answered(std::uint64_t number);  // by now

  // All events of that kind for that client so far, oldest first.
  std::vector<boost::json::object> events(const std::string& event, const std::string& as);
  // Waits until there are `count`; fewer when they do not come.
  std::vector<boost::json::object> wait(const std::string& event, const std::string& as,
                                        std::size_t count = 1);

 private:
  bool read(std::chrono::milliseconds patience);

  std::string path_, output_;
  int listener_ = -1, socket_ = -1;
  fixture::ChildProcess process_;
  std::uint64_t next_ = 1;
  std::string pending_;
  std::map<std::uint64_t, boost::json::object> answers_;
  std::vector<boost::json::object> events_;
};

}  // namespace decklog::hub::test
