// The rules of the house that a machine can hold: arrows between the rooms, one home for each foreign header,
// sizes, contracts, nothing left undone.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace decklog::house {
namespace {

namespace fs = std::filesystem;

struct SourceFile {
  std::string path;  // from the root of the tree
  std::vector<std::string> lines;
};

std::vector<SourceFile> read_tree(const std::vector<std::string>& rooms, const std::set<std::string>& kinds) {
  std::vector<SourceFile> files;
  const fs::path root = DECKLOG_SOURCE_DIR;
  for (const auto& room : rooms) {
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      const std::string path = fs::relative(entry.path(), root).string();
      if (!entry.is_regular_file() || !kinds.contains(entry.path().extension().string()) ||
          path.find("node_modules") != std::string::npos)
        continue;
      SourceFile file{path, {}};
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  return files;
}

const std::vector<std::string> kProduct{"events", "statemachines", "persistence", "observability",
                                        "services"};

const std::vector<SourceFile>& product() {
  static const auto files = read_tree(kProduct, {".hpp", ".cpp"});
  return files;
}

struct Include {
  std::string file, target;
  bool foreign;
};

std::vector<Include> includes() {
  static const std::regex kInclude(R"(^#include ([<"])([^>"]+)[>"])");
  std::vector<Include> all;
  for (const auto& file : product()) {
    for (const auto& line : file.lines) {
      std::smatch found;
      if (std::regex_search(line, found, kInclude)) all.push_back({file.path, found[2], found[1] == "<"});
    }
  }
  return all;
}

std::string room_of(const std::string& path) {
  return path.substr(0, path.find('/'));
}

// "services/agent/core.cpp" -> "agent"
std::string service_of(const std::string& path) {
  const auto begin = path.find('/') + 1;
  return path.substr(begin, path.find('/', begin) - begin);
}

TEST(House, IsAllThere) {
  EXPECT_GT(product().size(), 200u);
  EXPECT_GT(includes().size(), 1000u);
}

TEST(House, ArrowsPointOneWay) {
  const std::map<std::string, std::set<std::string>> allowed{
      {"events", {"events"}},
      {"statemachines", {"events", "statemachines"}},
      {"persistence", {"events", "persistence"}},
      {"observability", {"events", "statemachines", "persistence", "observability"}},
      {"services", {"events", "statemachines", "persistence", "observability", "services"}}};
  for (const auto& include : includes()) {
    if (include.foreign || include.target.find('/') == std::string::npos) continue;
    EXPECT_TRUE(allowed.at(room_of(include.file)).contains(room_of(include.target)))
        << include.file << " includes " << include.target;
  }
}

TEST(House, ServicesHaveNoCircles) {
  std::map<std::string, std::set<std::string>> uses;
  for (const auto& include : includes()) {
    if (include.file.starts_with("services/") && include.target.starts_with("services/") &&
        service_of(include.file) != service_of(include.target))
      uses[service_of(include.file)].insert(service_of(include.target));
  }
  // Take away what uses nothing any more, until nothing is left.
  for (bool moved = true; moved && !uses.empty();) {
    moved = false;
    for (auto user = uses.begin(); user != uses.end();) {
      std::erase_if(user->second, [&](const std::string& used) { return !uses.contains(used); });
      moved |= user->second.empty();
      user = user->second.empty() ? uses.erase(user) : std::next(user);
    }
  }
  for (const auto& [user, used] : uses) {
    for (const auto& name : used) ADD_FAILURE() << "in a circle: " << user << " uses " << name;
  }
}

// A foreign library has one home; whoever needs what it does asks the home.
TEST(House, ForeignHeadersStayAtHome) {
  const std::vector<std::pair<std::string, std::string>> homes{
      {"flatbuffers/|event_generated.h", "events/codec\\.cpp"},
      {"boost/msm/|boost/mpl/", "statemachines/(rows|run_once)\\.hpp"},
      {"rocksdb/", "persistence/(rocks_journal|message_store)[a-z_]*\\.[ch]pp"},
      {"prometheus/", "observability/exposition\\.cpp"},
      {"nats/|nats\\.h", "services/uplink/nats_connection[a-z_]*\\.[ch]pp"},
      {"toml", "services/config/config\\.cpp"},
      {"CLI/", "services/cli/cli\\.hpp"},
      {"boost/beast/",
       "services/http/.*|services/runtime/engine_client\\.cpp|services/broker/web_socket_pipe\\.cpp|"
       "services/agent/probe_dial\\.cpp"},
      {"boost/asio", "services/(?!mqtt/|routing/|audit/|iothub/|cli/).*"},
      {"spdlog/", "services/.*"},
      {"gtest|gmock|rapidcheck", "(?!)"}};
  std::map<std::string, int> seen;
  for (const auto& include : includes()) {
    for (const auto& [header, home] : homes) {
      if (!std::regex_search(include.target, std::regex("^(" + header + ")"))) continue;
      ++seen[header];
      EXPECT_TRUE(std::regex_match(include.file, std::regex(home)))
          << include.file << " includes " << include.target << ", whose home is " << home;
    }
  }
  // A home nobody lives in means that this list is out of date.
  for (const auto& [header, home] : homes) {
    if (header != "gtest|gmock|rapidcheck" && header != "spdlog/") {
      EXPECT_GT(seen[header], 0) << header;
    }
  }
}

TEST(House, FilesAreShort) {
  for (const auto& file : product()) EXPECT_LE(file.lines.size(), 400u) << file.path;
  // A test file may be longer: it is a list of cases.
  for (const auto& file : read_tree({"tests"}, {".hpp", ".cpp"}))
    EXPECT_LE(file.lines.size(), 550u) << file.path;
}

TEST(House, HeadersOpenWithTheirContract) {
  for (const auto& file : product()) {
    if (!file.path.ends_with(".hpp")) continue;
    ASSERT_FALSE(file.lines.empty()) << file.path;
    EXPECT_TRUE(file.lines.front().starts_with("// ")) << file.path << " does not say what it is for";
    EXPECT_NE(std::find(file.lines.begin(), file.lines.end(), "#pragma once"), file.lines.end()) << file.path;
  }
}

// The compiler then sees each of these headers alone.
TEST(House, ASourceNamesItsOwnHeaderFirst) {
  std::map<std::string, std::string> first;
  for (const auto& include : includes()) first.try_emplace(include.file, include.target);
  for (const auto& [file, target] : first) {
    const std::string own = file.substr(0, file.rfind('.')) + ".hpp";
    // The machines' tables come first: they set limits of Boost.MPL.
    if (target.starts_with("statemachines/") && target.ends_with("_table.hpp")) continue;
    if (file.ends_with(".cpp") && fs::exists(fs::path(DECKLOG_SOURCE_DIR) / own)) {
      EXPECT_EQ(target, own) << file;
    }
  }
}

TEST(House, EveryRoomSaysWhatItIs) {
  for (const auto& room : {"events", "statemachines", "persistence", "observability", "services", "tests"})
    EXPECT_TRUE(fs::exists(fs::path(DECKLOG_SOURCE_DIR) / room / "README.md")) << room;
}

TEST(House, NothingIsLeftUndone) {
  // Written so that this file does not find itself.
  const std::regex undone(
      "\\b(TO"
      "DO|FIX"
      "ME|X"
      "XX|HA"
      "CK)\\b|GTEST_"
      "SKIP|\\bDISABLED"
      "_|place"
      "holder");
  for (const auto& file : read_tree({"events", "statemachines", "persistence", "observability", "services",
                                     "tests", "examples", "scripts"},
                                    {".hpp", ".cpp", ".txt", ".cmake", ".md", ".mjs", ".sh", "", ".toml"})) {
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(file.lines[i], undone))
          << file.path << ":" << i + 1 << ": " << file.lines[i];
    }
  }
}

// The core must decide the same anywhere: no clock, no randomness, no environment, no hash order in it.
TEST(House, TheCoreReadsNothingButItsInput) {
  const std::regex outside(
      R"(_clock::now|::time\(|clock_gettime|getenv|std::random|\brand\(|std::mt19937|std::this_thread|std::unordered_)");
  const std::set<std::string> core{"services/agent/core.cpp",    "services/agent/turn.cpp",
                                   "services/agent/planner.cpp", "services/agent/state.cpp",
                                   "services/agent/report.cpp",  "services/agent/deployment.cpp"};
  std::size_t looked_at = 0;
  for (const auto& file : product()) {
    if (!file.path.starts_with("statemachines/") && !core.contains(file.path)) continue;
    ++looked_at;
    for (const auto& line : file.lines)
      EXPECT_FALSE(std::regex_search(line, outside)) << file.path << ": " << line;
  }
  EXPECT_GT(looked_at, core.size() + 10);
}

}  // namespace
}  // namespace decklog::house
