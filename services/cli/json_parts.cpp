#include "services/cli/json_parts.hpp"

#include <cstdio>

#include "services/audit/sentences.hpp"

namespace decklog::cli {

namespace json = boost::json;

json::object event_object(const Envelope& event) {
  json::object out{{"sequence", event.sequence.value},
                   {"stream", event.stream.value},
                   {"type", std::string(info(event.fact).name)},
                   {"text", audit::sentence(event)}};
  out["data"] = json::parse(fact_json(event.fact));
  return out;
}

json::array field_array(const std::vector<FieldDifference>& fields) {
  json::array out;
  for (const auto& field : fields)
    out.push_back(json::object{{"path", field.path}, {"expected", field.expected}, {"got", field.got}});
  return out;
}

void print(const json::value& value) {
  std::puts(json::serialize(value).c_str());
}

json::array text_array(const std::vector<std::string>& texts) {
  json::array out;
  for (const auto& text : texts) out.emplace_back(text);
  return out;
}

}  // namespace decklog::cli
