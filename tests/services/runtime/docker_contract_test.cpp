#include "tests/services/runtime/docker_backend.hpp"
#include "tests/services/runtime/runtime_contract.hpp"

namespace decklog::runtime {
INSTANTIATE_TYPED_TEST_SUITE_P(Docker, RuntimeContract, DockerBackend);
}  // namespace decklog::runtime
