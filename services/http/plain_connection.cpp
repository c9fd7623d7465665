#include "services/http/connection.hpp"

namespace decklog::http {

std::shared_ptr<ConnectionBase> make_plain_connection(std::weak_ptr<ConnectionOwner> owner, Socket socket,
                                                      Peer peer) {
  return std::make_shared<Connection<Socket>>(std::move(owner), std::move(peer), nullptr, std::move(socket));
}

}  // namespace decklog::http
