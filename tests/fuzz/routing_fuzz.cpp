// Any bytes as a route and as a condition, run against a message made of the same bytes. What compiles must
// print and compile again to the same parts; nothing may crash, run long or read outside its input.
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>

#include "services/routing/route.hpp"
#include "services/routing/route_tool.hpp"

namespace {

using namespace decklog::routing;

void check_condition(const Condition& condition, std::string_view source, Evaluation& evaluation) {
  const Truth truth = evaluation.run(condition);
  std::vector<Value> values;
  if (evaluation.trace(condition, values) != truth) std::abort();
  Diagnostic diagnostic;
  const std::string printed = print(condition);
  if (printed.size() > kMaxQueryBytes) return;  // every bracket is written out
  const std::optional<Condition> again = compile_condition(printed, source, diagnostic);
  const bool too_deep = !again && diagnostic.message.find("levels of nesting") != std::string::npos;
  if (!too_deep && (!again || !same_parts(condition, *again))) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = text.find('\x01');
  const std::string_view query = text.substr(0, cut);
  const std::string_view body = cut == std::string_view::npos ? query : text.substr(cut + 1);
  const PropertyView application[] = {{"temp", "21.5"}, {"site", body.substr(0, 64)}, {"$body.x", "shadow"}};
  const PropertyView system[] = {{"contentType", "application/json"}, {"contentEncoding", "utf-8"}};
  const MessageView message{"/messages/modules/m/outputs/o", body, application, system};
  Evaluation evaluation(message);
  Diagnostic diagnostic;
  for (const std::string_view source : {"/messages", "/twinChangeNotifications"}) {
    const std::optional<Condition> condition = compile_condition(query, source, diagnostic);
    if (condition) check_condition(*condition, source, evaluation);
    if (!condition && (diagnostic.message.empty() || diagnostic.column == 0)) std::abort();
  }
  RouteSpec spec;
  spec.query = std::string(query);
  if (const std::optional<Route> route = compile_route(spec, diagnostic)) {
    evaluate(*route, message, evaluation);
    if (route->source_prefix.empty() || route->endpoint.id.empty()) std::abort();
  }
  std::ostringstream out;
  route_explain(query, "{\"body\":{\"x\":1}}", "/messages", out);
  return 0;
}
