#include "services/http/patient_listener.hpp"

namespace decklog::http {

namespace {
constexpr Duration kAgain = std::chrono::seconds(10);
}

void PatientListener::listen(std::string address, std::uint16_t port, Told told) {
  address_ = std::move(address);
  wanted_ = port;
  told_ = std::move(told);
  try_once();
}

void PatientListener::try_once() {
  if (const auto opened = server_.listen_tcp(address_, wanted_); opened) {
    port_ = *opened;
    return;
  } else if (const auto told = std::exchange(told_, nullptr)) {
    told(describe(opened.error()) + "; tried again every " + to_text(kAgain));
  }
  again_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(kAgain));
  again_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) try_once();
  });
}

}  // namespace decklog::http
