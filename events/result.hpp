// The one error vocabulary. Expected failure is a Result<T>; a broken invariant aborts (see DECKLOG_ASSERT).
// Exceptions do not cross a folder: code that calls a throwing library turns what it throws into an Error.
// Thread safety: values; share nothing.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace decklog {

// What went wrong, for programs. The numbers are stored in the log: append only, never renumber.
enum class Errc : std::uint16_t {
  kOk = 0,
  kInvalidArgument = 1,  // a value the caller gave is not acceptable; `where` names it
  kMalformed = 2,        // bytes or text that do not parse; `where` names line, column or path
  kNotFound = 3,
  kAlreadyExists = 4,
  kPermissionDenied = 5,
  kUnauthenticated = 6,
  kUnavailable = 7,  // the other side is not there now; trying again later may work
  kTimeout = 8,
  kCancelled = 9,
  kIo = 10,        // the operating system refused; errno text in the message
  kNoSpace = 11,   // disk or quota full
  kCorrupt = 12,   // stored bytes fail their check
  kConflict = 13,  // expected revision or state does not match
  kTooLarge = 14,
  kUnsupported = 15,  // understood and not supported (schema version, feature)
  kClosed = 16,
  kInternal = 17,
};

// Short lower-case name, e.g. "not-found"; stable, used in the log and by scripts.
const char* to_string(Errc code);

struct Error {
  Errc code = Errc::kInternal;
  std::string message;  // for people: what happened; no trailing dot, no secrets
  std::string
      where;  // what it is about: "$.modules.sensor.settings.image", "config.toml:12: hub.port", or empty

  friend bool operator==(const Error&, const Error&) = default;
};

// "where: message" or "message".
std::string describe(const Error& error);

template <class T>
using Result = boost::system::result<T, Error>;
using Status = Result<void>;

inline Error error(Errc code, std::string message, std::string where = {}) {
  return Error{code, std::move(message), std::move(where)};
}

// Reached only by value() on a failed Result, which is a bug of the caller.
[[noreturn]] inline void throw_exception_from_error(const Error& failure, const boost::source_location&) {
  throw std::logic_error("Result without a value: " + describe(failure));
}

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace decklog

// Invariants stay checked in release builds: a device that goes on with a broken invariant writes false
// history.
#define DECKLOG_ASSERT(expression) \
  ((expression) ? void(0) : ::decklog::assertion_failed(#expression, __FILE__, __LINE__))
