// The keeper as a program of its own, for tests.
#include "services/runtime/keeper.hpp"

int main(int argc, char** argv) {
  return decklog::runtime::keeper_main(argc - 1, argv + 1);
}
