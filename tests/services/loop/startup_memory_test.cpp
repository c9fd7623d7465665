// What StartupMemory gives back is really given back, and nothing that is needed is lost by it.
#include "services/loop/startup_memory.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace decklog::loop {
namespace {

long resident_file_kb() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssFile:")) return std::stol(line.substr(8));
  }
  return 0;
}

TEST(StartupMemory, GivesBackPagesOfCodeOnceAndTheProgramGoesOn) {
  boost::asio::io_context context;
  const long before = resident_file_kb();
  const StartupMemory give_back(context, GiveBack::kEverything, std::chrono::milliseconds(1));
  EXPECT_EQ(context.run(), 1u);  // one wake-up, then it is done
  const long after = resident_file_kb();
  EXPECT_GT(after, 0);
  EXPECT_LT(after, before);
  // Code and constants that were not used for a while are there again.
  EXPECT_EQ(std::to_string(12345) + std::string("6"), "123456");
}

TEST(StartupMemory, EndsWithItsOwnerWithoutHavingRun) {
  boost::asio::io_context context;
  const long before = resident_file_kb();
  { const StartupMemory give_back(context, GiveBack::kEverything, std::chrono::hours(1)); }
  EXPECT_EQ(context.run(), 1u);  // the cancelled wait
  EXPECT_GE(resident_file_kb() + 64, before);
}

}  // namespace
}  // namespace decklog::loop
