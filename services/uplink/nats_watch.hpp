// The newest value of every key below a filter of a KV bucket, and every change after it.
//
// Owned by NatsUplink for one connection, on its executor. A push consumer of our own making: a gap in its
// sequence, or three missed heartbeats (the bucket was deleted or made anew), and it is set up again, which
// delivers every newest value again. A refusal is said once per connection and per change of its error, and
// retried.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "services/uplink/jetstream.hpp"
#include "services/uplink/nats_wire.hpp"

namespace decklog::uplink {

class NatsWatch final : public std::enable_shared_from_this<NatsWatch> {
 public:
  struct Events {
    std::function<void(std::string subject, jetstream::Entry)> on_entry;
    std::function<void(const Error&)> on_failed;
    std::function<void()> on_restart;  // every value comes again; revisions may have begun anew
  };
  NatsWatch(std::shared_ptr<NatsWire> wire, std::string stream, std::string filter, Events events);

  void start();
  void stop();
  void tick(SteadyTime now);  // about once a second
  const std::string& filter() const { return filter_; }

 private:
  void restart();
  void arrived(NatsMessage message);
  void failed(const Error& reason);

  std::shared_ptr<NatsWire> wire_;
  std::string stream_;
  std::string filter_;
  Events events_;
  bool running_ = false;
  bool established_ = false;
  std::uint64_t attempt_ = 0;
  std::uint64_t subscription_ = 0;
  std::uint64_t consumer_sequence_ = 0;
  SteadyTime last_heard_;
  std::optional<SteadyTime> retry_at_;
  std::optional<Error> last_error_;
};

}  // namespace decklog::uplink
