// The gateway's own TLS certificate (the hub's, the method endpoint's), kept on disk and renewed in time.
//
// One file, 0600, private key first and the chain after it, replaced in one step: a reader never sees a key
// of one and a certificate of another. Renewed at 80 % of its life, when the host names change, when the CA
// changes, and when the clock turns out to be before it. Thread: one at a time. Owns no timer: call
// renew_if_due() at next_renewal(), after clock steps, and after a failure at the caller's pace. `on_renewed`
// runs inside open() never, inside renew_if_due() when a new one is on disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "services/workload/edge_ca.hpp"

namespace decklog::workload {

class ServerCertificate final {
 public:
  using Renewed = std::function<void(const IssuedCertificate&)>;

  // Takes what is in `file` when it is still good for these names, else issues one.
  static Result<ServerCertificate> open(std::string file, std::vector<std::string> host_names,
                                        const EdgeCa& ca, WallTime now, Renewed on_renewed = nullptr);

  const IssuedCertificate& current() const { return current_; }
  WallTime next_renewal() const { return renewal_time(current_.not_before, current_.not_after); }
  // True when a new one was made. On failure the current one stays.
  Result<bool> renew_if_due(const EdgeCa& ca, WallTime now);

 private:
  ServerCertificate() = default;
  Status renew(const EdgeCa& ca, WallTime now);

  std::string file_;
  std::vector<std::string> host_names_;
  IssuedCertificate current_;
  Renewed on_renewed_;
};

}  // namespace decklog::workload
