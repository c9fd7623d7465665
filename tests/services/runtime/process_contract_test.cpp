#include "tests/services/runtime/process_backend.hpp"
#include "tests/services/runtime/runtime_contract.hpp"

namespace decklog::runtime {
INSTANTIATE_TYPED_TEST_SUITE_P(Process, RuntimeContract, ProcessBackend);
}  // namespace decklog::runtime
