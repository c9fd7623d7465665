// Two reported patches with a zero byte between: what is taken merges into documents without nulls, within
// the limits that a merged document has, and the difference of two documents leads from one to the other.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/iothub/twin_rules.hpp"

namespace {

namespace json = boost::json;
using namespace decklog::iothub;

void must(bool holds) {
  if (!holds) std::abort();
}

bool holds_null(const json::value& value) {
  if (value.is_null()) return true;
  if (const auto* object = value.if_object()) {
    for (const auto& member : *object) {
      if (holds_null(member.value())) return true;
    }
  }
  return false;
}

json::object document_of(std::string_view text) {
  json::object document;
  if (const auto patch = parse_reported_patch(text)) {
    merge_patch(document, *patch);
    must(check_twin_part(document).has_value() && !holds_null(document));
  }
  return document;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto cut = text.find('\0');
  json::object from = document_of(text.substr(0, cut));
  const json::object to = cut == std::string_view::npos ? json::object() : document_of(text.substr(cut + 1));
  const std::string answer = twin_answer(from, 1, to, 2);
  must(json::parse(answer).as_object().size() == 2);
  const json::object patch = difference(from, to);
  merge_patch(from, patch);
  must(from == to);
  must(difference(from, to).empty());
  return 0;
}
