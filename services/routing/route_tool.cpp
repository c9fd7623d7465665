#include "services/routing/route_tool.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <istream>
#include <iterator>
#include <ostream>

#include "services/routing/explain.hpp"
#include "services/routing/lexer.hpp"
#include "services/routing/limits.hpp"
#include "services/routing/route.hpp"
#include "services/routing/route_document.hpp"
#include "services/routing/sample_message.hpp"

namespace decklog::routing {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxLineBytes = 8u << 20;  // one vector, message included

std::string text_member(const json::object& object, std::string_view member, std::string_view otherwise) {
  const json::value* found = object.if_contains(json::string_view(member.data(), member.size()));
  if (found == nullptr || !found->is_string()) return std::string(otherwise);
  return std::string(found->get_string().data(), found->get_string().size());
}

Result<SampleMessage> message_of(const json::object& vector) {
  const json::value* message = vector.if_contains("message");
  return SampleMessage::read(message && !message->is_null() ? *message : json::value(json::object()));
}

json::value truth_result(Truth truth) {
  if (truth == Truth::kUndefined) return json::value("undefined");
  return json::value(truth == Truth::kTrue);
}

Result<json::value> condition_result(const json::object& vector) {
  const Result<Condition> condition =
      compile_condition(text_member(vector, "query", ""), text_member(vector, "source", "/messages"));
  if (!condition) return condition.error();
  const Result<SampleMessage> message = message_of(vector);
  if (!message) return message.error();
  const std::string source = text_member(vector, "source", "/messages");
  const MessageView view = message->view(source);
  Evaluation evaluation(view);
  return truth_result(evaluation.run(*condition));
}

Result<json::value> validity_result(const json::object& vector) {
  if (text_member(vector, "of", "condition") == "route") {
    RouteSpec spec;
    spec.query = text_member(vector, "query", "");
    if (const Result<Route> route = compile_route(spec); !route) return route.error();
    return json::value("ok");
  }
  const Result<Condition> condition =
      compile_condition(text_member(vector, "query", ""), text_member(vector, "source", "/messages"));
  if (!condition) return condition.error();
  return json::value("ok");
}

Result<json::value> route_result(const json::object& vector) {
  RouteSpec spec;
  spec.query = text_member(vector, "query", "");
  const Result<Route> route = compile_route(spec);
  if (!route) return route.error();
  const Result<SampleMessage> message = message_of(vector);
  if (!message) return message.error();
  const std::string source = text_member(vector, "source", "/messages");
  const MessageView view = message->view(source);
  Evaluation evaluation(view);
  json::value endpoint = nullptr;
  if (evaluate(*route, view, evaluation) == Truth::kTrue) {
    endpoint =
        route->endpoint.upstream()
            ? json::value("$upstream")
            : json::value(json::object{{"module", route->endpoint.module}, {"input", route->endpoint.input}});
  }
  return json::value(json::object{{"endpoint", std::move(endpoint)}});
}

// A list of routes in either form, or an object of them by name.
Result<std::vector<RouteSpec>> specs_of(const json::object& vector) {
  std::vector<RouteSpec> specs;
  const json::value* routes = vector.if_contains("routes");
  if (routes == nullptr) return error(Errc::kMalformed, "a routeset has a member 'routes'");
  const auto add = [&](std::string_view name, const json::value& route) -> Status {
    Result<RouteSpec> spec = read_route_spec(name, route, "route " + std::string(name));
    if (!spec) return spec.error();
    specs.push_back(std::move(*spec));
    return {};
  };
  if (const json::array* list = routes->if_array()) {
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (Status added = add(std::to_string(i + 1), (*list)[i]); !added) return added.error();
    }
  } else if (const json::object* named = routes->if_object()) {
    for (const auto& [key, value] : *named) {
      if (Status added = add({key.data(), key.size()}, value); !added) return added.error();
    }
  } else {
    return error(Errc::kMalformed, "'routes' is a list or an object");
  }
  return specs;
}

Result<json::value> set_result(const json::object& vector) {
  Result<std::vector<RouteSpec>> specs = specs_of(vector);
  if (!specs) return specs.error();
  const RouteSet set = RouteSet::compile(std::move(*specs));
  if (!set.refused().empty()) return set.refused().front().reason;
  const Result<SampleMessage> message = message_of(vector);
  if (!message) return message.error();
  const std::string source = text_member(vector, "source", "/messages");
  std::vector<Delivery> deliveries;
  set.evaluate(message->view(source), deliveries);
  const auto id = [&](const Delivery& each) -> const std::string& {
    return set.endpoints()[each.endpoint].id;
  };
  std::sort(deliveries.begin(), deliveries.end(),
            [&](const Delivery& a, const Delivery& b) { return id(a) < id(b); });
  json::array endpoints;
  json::object priority;
  json::object ttl;
  for (const Delivery& each : deliveries) {
    endpoints.emplace_back(id(each));
    priority.emplace(id(each), each.priority);
    if (each.ttl_seconds != 0) ttl.emplace(id(each), each.ttl_seconds);
  }
  json::object result{{"endpoints", std::move(endpoints)}};
  if (!priority.empty()) result.emplace("priority", std::move(priority));
  if (!ttl.empty()) result.emplace("timeToLiveSecs", std::move(ttl));
  return json::value(std::move(result));
}

Result<json::value> result_of(const json::object& vector) {
  const std::string kind = text_member(vector, "kind", "condition");
  if (kind == "condition") return condition_result(vector);
  if (kind == "invalid") return validity_result(vector);
  if (kind == "route") return route_result(vector);
  if (kind == "routeset") return set_result(vector);
  return error(Errc::kUnsupported, "kind '" + kind + "'; expected condition, invalid, route or routeset");
}

bool eval_one(const json::value& value, std::ostream& out, std::ostream& err) {
  const json::object* vector = value.if_object();
  if (vector == nullptr) {
    err << "expected a JSON object a line\n";
    return false;
  }
  const json::value* id = vector->if_contains("id");
  const json::value shown = id ? *id : json::value(nullptr);
  const Result<json::value> result = result_of(*vector);
  if (!result) err << json::serialize(shown) << ": " << describe(result.error()) << "\n";
  out << json::serialize(json::object{{"id", shown}, {"result", result ? *result : json::value("error")}})
      << "\n";
  return true;
}

bool eval_line(const std::string& line, std::ostream& out, std::ostream& err) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return true;
  if (line.size() > kMaxLineBytes) {
    err << "line of more than " << kMaxLineBytes << " bytes\n";
    return false;
  }
  boost::system::error_code failure;
  const json::value value = json::parse(line, failure);
  if (failure) {
    err << "not JSON: " << failure.message() << "\n";
    return false;
  }
  return eval_one(value, out, err);
}

void explain_condition(const Condition& condition, const MessageView& view, std::string_view query,
                       std::ostream& out) {
  Evaluation evaluation(view);
  std::vector<Value> values;
  const Truth truth = evaluation.trace(condition, values);
  out << "the condition, part by part:\n";
  explain_parts(condition, values, evaluation, query, out);
  const Part& part = condition.parts[deciding_part(condition, values)];
  const char* word = truth == Truth::kTrue ? "true" : truth == Truth::kFalse ? "false" : "undefined";
  const std::uint32_t begin = column_of(query, condition.origin + part.begin);
  const std::uint32_t end = column_of(query, condition.origin + part.end);
  out << "the condition is " << word << ", decided here:\n";
  print_marked(query, begin, end - begin, out);
  if (truth != Truth::kTrue) out << "only a condition that is true takes the message\n";
}

void explain_refusal(const Diagnostic& diagnostic, std::string_view query, std::ostream& out) {
  out << "refused at column " << diagnostic.column << ": " << diagnostic.message << "\n";
  print_marked(query, diagnostic.column, diagnostic.length, out);
}

bool looks_like_route(std::string_view query) {
  const std::size_t first = query.find_first_not_of(" \t\r\n");
  Lexer lexer(first == std::string_view::npos ? query : query.substr(first));
  const TokenKind kind = lexer.next().kind;
  return kind == TokenKind::kFrom || kind == TokenKind::kSelect;
}

int explain_route(std::string_view query, const MessageView& view, std::ostream& out) {
  RouteSpec spec;
  spec.query = std::string(query);
  Diagnostic diagnostic;
  const std::optional<Route> route = compile_route(spec, diagnostic);
  if (!route) {
    explain_refusal(diagnostic, query, out);
    return 1;
  }
  const bool from_here = source_matches(*route, view.source);
  out << "the source " << route->source << (from_here ? " takes" : " does not take") << " messages from "
      << view.source << "\n";
  if (route->condition) {
    explain_condition(*route->condition, view, query, out);
  } else {
    out << "there is no condition, so every message of the source counts\n";
  }
  Evaluation evaluation(view);
  const bool taken = evaluate(*route, view, evaluation) == Truth::kTrue;
  out << "the message " << (taken ? "goes to " : "does not go to ") << route->endpoint.id << "\n";
  return 0;
}

}  // namespace

int route_eval(std::istream& in, std::ostream& out, std::ostream& err) {
  // A whole document begins with a line that is not JSON by itself, or holds "vectors".
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  boost::system::error_code failure;
  const json::value whole = json::parse(text, failure);
  bool good = true;
  if (!failure && whole.is_object() && whole.get_object().contains("vectors")) {
    const json::array* vectors = whole.get_object().at("vectors").if_array();
    if (vectors == nullptr) {
      err << "'vectors' is a list\n";
      return 2;
    }
    for (const json::value& each : *vectors) good = eval_one(each, out, err) && good;
    return good ? 0 : 1;
  }
  std::string line;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    good = eval_line(text.substr(begin, end - begin), out, err) && good;
    begin = end + 1;
  }
  return good ? 0 : 1;
}

int route_explain(std::string_view query, std::string_view message, std::string_view source,
                  std::ostream& out) {
  boost::system::error_code failure;
  const json::value parsed = json::parse(json::string_view(message.data(), message.size()), failure);
  const Result<SampleMessage> sample = failure
                                           ? Result<SampleMessage>(error(Errc::kMalformed, failure.message()))
                                           : SampleMessage::read(parsed);
  if (!sample) {
    out << "the message cannot be read: " << describe(sample.error()) << "\n";
    return 2;
  }
  const MessageView view = sample->view(source);
  if (looks_like_route(query)) return explain_route(query, view, out);
  Diagnostic diagnostic;
  const std::optional<Condition> condition = compile_condition(query, source, diagnostic);
  if (!condition) {
    explain_refusal(diagnostic, query, out);
    return 1;
  }
  explain_condition(*condition, view, query, out);
  return 0;
}

}  // namespace decklog::routing
