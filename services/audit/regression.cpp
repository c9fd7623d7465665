#include "services/audit/regression.hpp"

#include <algorithm>
#include <filesystem>

#include "services/audit/bundle.hpp"

namespace decklog::audit {

namespace fs = std::filesystem;

bool is_corpus(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && !fs::exists(fs::path(path) / "db", ignored);
}

Result<std::vector<CorpusCase>> replay_corpus(const std::string& directory, const ReplayOptions& options) {
  std::vector<std::string> files;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(directory, failed)) {
    if (entry.is_regular_file() && entry.path().extension() == ".dlb") files.push_back(entry.path().string());
  }
  if (failed) return error(Errc::kIo, failed.message(), directory);
  if (files.empty())
    return error(Errc::kNotFound, "neither a journal nor a directory of bundles (*.dlb): nothing to replay",
                 directory);
  std::sort(files.begin(), files.end());
  std::vector<CorpusCase> cases;
  for (auto& file : files) {
    const auto bundle = BundleReader::open(file);
    if (!bundle) return bundle.error();
    cases.push_back({std::move(file), replay_log(**bundle, options)});
  }
  return cases;
}

}  // namespace decklog::audit
