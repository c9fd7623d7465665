// Facts as JSON for people and other systems, and compared field by field for replay.
#include <boost/json.hpp>
#include <cstdio>

#include "events/event.hpp"
#include "events/field_visit.hpp"

namespace decklog {
namespace {

namespace json = boost::json;

template <class T>
json::value to_json(const T& value);

template <class Table>
json::object table_json(const Table& table) {
  json::object out;
  Table::fields(table, [&](int, const char* name, const auto& value) { out[name] = to_json(value); });
  return out;
}

template <class T>
json::value to_json(const T& value) {
  if constexpr (detail::kIsEnum<T>) {
    return json::string(name_of(value));
  } else if constexpr (detail::kIsTextId<T>) {
    return json::string(value.value);
  } else if constexpr (detail::kIsTextList<T>) {
    json::array list;
    for (const auto& item : value) list.emplace_back(item);
    return list;
  } else if constexpr (detail::kIsText<T>) {
    return json::string(value);
  } else if constexpr (detail::kIsTable<T>) {
    return table_json(value);
  } else {
    return json::value(value);
  }
}

template <class Table>
void compare(const std::string& prefix, const Table& expected, const Table& got,
             std::vector<FieldDifference>& out) {
  // Both sides walk the same list, so the second walk pairs up by id.
  Table::fields(expected, [&](int id, const char* name, const auto& left) {
    using T = std::remove_cvref_t<decltype(left)>;
    Table::fields(got, [&](int other, const char*, const auto& right) {
      if constexpr (std::is_same_v<T, std::remove_cvref_t<decltype(right)>>) {
        if (id != other || left == right) return;
        if constexpr (detail::kIsTable<T>) {
          compare(prefix + name + ".", left, right, out);
        } else {
          out.push_back({prefix + name, json::serialize(to_json(left)), json::serialize(to_json(right))});
        }
      }
    });
  });
}

}  // namespace

std::string fact_json(const Fact& fact) {
  return std::visit([](const auto& value) { return json::serialize(table_json(value)); }, fact);
}

std::string to_cloud_event(const Envelope& event, std::string_view source) {
  json::object out;
  char sequence[24];
  std::snprintf(sequence, sizeof sequence, "%020llu", static_cast<unsigned long long>(event.sequence.value));
  out["specversion"] = "1.0";
  out["id"] = event.boot.value + "/" + std::to_string(event.sequence.value);
  out["source"] = source;
  out["type"] = "io.decklog." + std::string(info(event.fact).name);
  out["subject"] = event.stream.value;
  out["time"] = to_rfc3339(event.time.wall);
  out["datacontenttype"] = "application/json";
  out["sequence"] = sequence;
  out["kind"] = name_of(info(event.fact).kind);
  out["bootid"] = event.boot.value;
  out["mono"] = std::to_string(event.time.mono.ns);
  out["clockstate"] = name_of(event.clock);
  if (event.cause) out["causationid"] = event.boot.value + "/" + std::to_string(event.cause.value);
  if (event.cause) out["cause"] = event.cause.value;
  if (!event.correlation.empty()) out["correlationid"] = event.correlation.value;
  if (!event.actor.empty()) out["actor"] = event.actor.value;
  if (!event.build.empty()) out["build"] = event.build;
  out["data"] = std::visit([](const auto& value) { return table_json(value); }, event.fact);
  return json::serialize(out);
}

std::vector<FieldDifference> differences(const Fact& expected, const Fact& got) {
  std::vector<FieldDifference> out;
  if (expected.index() != got.index()) {
    out.push_back({"type", std::string(info(expected).name), std::string(info(got).name)});
    return out;
  }
  std::visit(
      [&](const auto& left) { compare("", left, std::get<std::remove_cvref_t<decltype(left)>>(got), out); },
      expected);
  return out;
}

}  // namespace decklog
