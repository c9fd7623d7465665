// Words for what a condition did with a message, and pictures of where in a query something stands. Pure.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "services/routing/condition.hpp"
#include "services/routing/evaluation.hpp"

namespace decklog::routing {

// The query on one line and a line of carets under `length` characters from `column`.
void print_marked(std::string_view query, std::uint32_t column, std::uint32_t length, std::ostream& out);

// "true", "undefined", "text \"plant7\"", "number 21.5", "null".
std::string describe(const Value& value);

// One line for each part with its column and value, with a reason where it is undefined.
void explain_parts(const Condition& condition, const std::vector<Value>& values, Evaluation& evaluation,
                   std::string_view whole_query, std::ostream& out);

// The part that decided: the smallest one whose value made the condition what it is.
std::size_t deciding_part(const Condition& condition, const std::vector<Value>& values);

// Column of a byte of the query, counted in characters from 1.
std::uint32_t column_of(std::string_view query, std::size_t byte);

}  // namespace decklog::routing
