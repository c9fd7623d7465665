// A directory of exported logs as a test of a build: every log must replay without a divergence. A directory
// without one is refused, so that a lost corpus is not a passed test. kNotFound, or the first bundle's error.
#pragma once

#include <string>
#include <vector>

#include "services/audit/replay.hpp"

namespace decklog::audit {

struct CorpusCase {
  std::string file;
  ReplayReport report;
};

// A directory that holds bundles (and no journal).
bool is_corpus(const std::string& path);
// In the order of their names.
Result<std::vector<CorpusCase>> replay_corpus(const std::string& directory, const ReplayOptions& options);

}  // namespace decklog::audit
