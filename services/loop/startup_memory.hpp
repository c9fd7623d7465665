// Gives back, once, what only the start needed: the pages of code and constants that start-up touched, in
// this program and in its libraries, and free heap. They are clean pages of files, so what is still in use
// comes back from the page cache at the price of a minor fault. A service that then waits is about half as
// large. Owner: a service's run(). Thread: the executor's. Wakes up once, `after` its construction; never
// fails.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace decklog::loop {

enum class GiveBack : std::uint8_t {
  kEverything,  // a service that mostly waits
  kStorage,     // the database library only: what answers clients stays, so that a client costs only its own
};

class StartupMemory final {
 public:
  StartupMemory(boost::asio::io_context& context, GiveBack what,
                std::chrono::milliseconds after = std::chrono::milliseconds(1000));
  ~StartupMemory();
  StartupMemory(const StartupMemory&) = delete;
  StartupMemory& operator=(const StartupMemory&) = delete;

 private:
  boost::asio::steady_timer timer_;
};

}  // namespace decklog::loop
