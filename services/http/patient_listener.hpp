// A port that is worth having and that nothing should fail for: metrics. When it cannot be had it is tried
// again every ten seconds. Owner: the service; the server outlives it. Thread: the executor's.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>

#include "services/http/server.hpp"

namespace decklog::http {

class PatientListener {
 public:
  // Told once of the first failure, in words, for the log.
  using Told = std::function<void(const std::string& problem)>;
  PatientListener(boost::asio::any_io_executor executor, Server& server)
      : server_(server), again_(executor) {}

  void listen(std::string address, std::uint16_t port, Told told);
  std::uint16_t port() const { return port_; }  // 0 = not open (yet)

 private:
  void try_once();

  Server& server_;
  boost::asio::steady_timer again_;
  std::string address_;
  std::uint16_t wanted_ = 0, port_ = 0;
  Told told_;
};

}  // namespace decklog::http
