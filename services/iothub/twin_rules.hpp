// Twin documents: what may be in them, how patches merge, how large they are. Pure.
// Facts: iot hub's limits: depth 10, key 1 KiB without control characters, space, '.', '$', '#'; string 4
// KiB; integers within 2^52; no null in arrays; 32 KiB for each of desired and reported.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "events/result.hpp"

namespace decklog::iothub {

inline constexpr std::size_t kMaxTwinBytes = 32 * 1024;

// A reported patch as a client sent it. kMalformed names the path.
Result<boost::json::object> parse_reported_patch(std::string_view text);
Status check_twin_part(const boost::json::object& part);

// Merge patch: null deletes, objects merge, everything else replaces.
void merge_patch(boost::json::object& document, const boost::json::object& patch);
// Patches that are kept to be applied later, as one: nulls stay, and what replaced a member whole, so that
// nothing of an older one may remain, says so ({"$replace": value}; clients cannot send such a name).
// apply_pending() of what was merged does what merge_patch() of each in turn does.
void merge_pending(boost::json::object& pending, const boost::json::object& patch);
void apply_pending(boost::json::object& document, const boost::json::object& pending);
// The patch that turns `from` into `to`; members that begin with '$' are left out.
boost::json::object difference(const boost::json::object& from, const boost::json::object& to);
// Names and strings by UTF-8 length, numbers 8, booleans 4; "$..." members not counted.
std::size_t twin_size(const boost::json::value& value);

// {"desired":{...,"$version":n},"reported":{...,"$version":m}}
std::string twin_answer(boost::json::object desired, std::uint64_t desired_version,
                        boost::json::object reported, std::uint64_t reported_version);
// {"errorCode":400000,"message":"..."}: what makes an SDK's twin call fail instead of hang or crash.
std::string twin_error(int status, std::string_view message);
// Without members that begin with '$'.
boost::json::object without_metadata(const boost::json::object& object);

}  // namespace decklog::iothub
