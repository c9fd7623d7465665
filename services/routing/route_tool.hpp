// What `decklog route eval` and `decklog route explain` do, without a main: streams in, streams out, an exit
// code. Pure but for the streams given. Exit codes: 0 done, 1 some input was refused, 2 nothing could be
// read.
#pragma once

#include <iosfwd>
#include <string_view>

namespace decklog::routing {

// Reads one JSON object a line, or one whole document {"vectors": [...]}, and prints {"id":...,"result":...}
// a line:
//   condition -> true | false | "undefined" | "error"
//   invalid   -> "error" | "ok"
//   route     -> {"endpoint": "$upstream" | {"module","input"} | null} | "error"
//   routeset  -> {"endpoints": [...], "priority": {...}, "timeToLiveSecs": {...}} | "error"
// The reason of every "error" goes to `err` with its id and column.
int route_eval(std::istream& in, std::ostream& out, std::ostream& err);

// Says in words why `query`, a whole route or just a condition, would or would not take the message, part by
// part with columns. `message` is JSON: {"body":...|"bodyRaw":"...","appProps":{...},"sysProps":{...}}.
int route_explain(std::string_view query, std::string_view message, std::string_view source,
                  std::ostream& out);

}  // namespace decklog::routing
