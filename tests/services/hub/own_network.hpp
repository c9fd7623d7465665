// A network of the test's own: the ports that the SDK insists on (8883, 443) are free in it, whatever else
// runs on the machine, and nothing leaves it. Needs root, or a kernel that lets users make namespaces.
#pragma once

namespace decklog::hub::test {

// Call once, before any thread is made; the process and its children live there from then on. False = not
// possible.
bool enter_own_network();

}  // namespace decklog::hub::test
