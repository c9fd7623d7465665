// Takes readings from its input "in" and sends each on to its output "alerts".
#include <boost/json.hpp>
#include <iostream>

#include "edge_module.hpp"

int main() try {
  auto module = edge::Module::from_environment();
  module.connect(true);
  std::cout << "filter: connected" << std::endl;
  while (true) {
    const auto reading = module.receive(std::chrono::seconds(10));
    if (!reading || reading->port != "in") continue;
    boost::system::error_code malformed;
    const auto body = boost::json::parse(reading->body, malformed);
    if (malformed || !body.is_object() || !body.get_object().contains("n")) {
      std::cerr << "filter: not a reading: " << reading->body << std::endl;
      continue;
    }
    const boost::json::object alert{
        {"alert", body.at("n")},
        {"level", body.get_object().contains("level") ? body.at("level") : boost::json::value()}};
    const auto sender = reading->properties.find("$.cmid");
    edge::Message message;
    message.body = boost::json::serialize(alert);
    message.properties = {{"$.ct", "application/json"}, {"$.ce", "utf-8"}};
    if (sender != reading->properties.end()) message.properties["measured by"] = sender->second;
    module.send("alerts", message);
  }
} catch (const std::exception& failure) {
  std::cerr << "filter: " << failure.what() << std::endl;
  return 1;
}
