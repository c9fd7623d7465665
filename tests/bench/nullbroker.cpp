// nullbroker PORT: forwards and acknowledges at once. What the machine can do with a broker that does
// nothing.
#include "tests/bench/tiny_broker.hpp"

int main(int, char** argv) {
  using namespace decklog::bench;
  TinyBroker broker(std::atoi(argv[1]));
  broker.on_publish = [&](Peer& peer, const Frame& frame) {
    const auto publish = parts_of(frame);
    broker.forward(publish.qos, publish.topic, publish.payload);
    if (publish.qos > 0) append_puback(peer.out, publish.id);
  };
  broker.run();
}
