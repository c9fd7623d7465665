// Sends a numbered reading every so often to its output "readings": PAUSE_MS between two, READINGS of them in
// all (0: without end).
#include <boost/json.hpp>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "edge_module.hpp"

namespace {

long number(const char* name, long otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::strtol(value, nullptr, 10) : otherwise;
}

}  // namespace

int main() try {
  const long readings = number("READINGS", 0);
  const std::chrono::milliseconds pause(number("PAUSE_MS", 1000));
  auto module = edge::Module::from_environment();
  module.connect(false);
  std::cout << "sensor: connected" << std::endl;
  for (long n = 1; readings == 0 || n <= readings; ++n) {
    const long level = n % 10;
    edge::Message message;
    message.body = boost::json::serialize(boost::json::object{{"n", n}, {"level", level}});
    // Routes may look into the body only of what says that it is JSON.
    message.properties = {{"level", std::to_string(level)},
                          {"$.ct", "application/json"},
                          {"$.ce", "utf-8"},
                          {"$.mid", "reading-" + std::to_string(n)}};
    module.send("readings", message);
    std::this_thread::sleep_for(pause);
  }
  std::cout << "sensor: done" << std::endl;
  return 0;
} catch (const std::exception& failure) {
  std::cerr << "sensor: " << failure.what() << std::endl;
  return 1;
}
