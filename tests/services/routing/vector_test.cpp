// The rules of the query language as data: vectors/*.jsonl, in the format `decklog route eval` reads. A line
// without an id sets the message of the lines after it.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "services/routing/route_tool.hpp"

namespace decklog::routing {
namespace {

namespace json = boost::json;

std::string evaluated(const json::object& vector) {
  std::istringstream in(json::serialize(vector));
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(route_eval(in, out, err), 0) << err.str();
  return out.str();
}

std::size_t run_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  json::value message = json::object();
  std::string line;
  std::size_t count = 0;
  while (std::getline(file, line)) {
    json::object vector = json::parse(line).as_object();
    if (!vector.contains("id")) {
      message = vector.at("message");
      continue;
    }
    vector.emplace("message", message);
    const json::object answer = json::parse(evaluated(vector)).as_object();
    EXPECT_EQ(answer.at("id"), vector.at("id"));
    EXPECT_EQ(answer.at("result"), vector.at("expect")) << line;
    ++count;
  }
  return count;
}

TEST(RouteVectors, AllGiveWhatTheySay) {
  std::size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(DECKLOG_SOURCE_DIR "/tests/services/routing/vectors")) {
    SCOPED_TRACE(entry.path().filename().string());
    const std::size_t in_file = run_file(entry.path());
    EXPECT_GT(in_file, 0u);
    count += in_file;
  }
  EXPECT_GE(count, 800u);
}

}  // namespace
}  // namespace decklog::routing
