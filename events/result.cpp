#include "events/result.hpp"

#include <cstdio>
#include <cstdlib>

namespace decklog {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::kOk:
      return "ok";
    case Errc::kInvalidArgument:
      return "invalid-argument";
    case Errc::kMalformed:
      return "malformed";
    case Errc::kNotFound:
      return "not-found";
    case Errc::kAlreadyExists:
      return "already-exists";
    case Errc::kPermissionDenied:
      return "permission-denied";
    case Errc::kUnauthenticated:
      return "unauthenticated";
    case Errc::kUnavailable:
      return "unavailable";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kIo:
      return "io";
    case Errc::kNoSpace:
      return "no-space";
    case Errc::kCorrupt:
      return "corrupt";
    case Errc::kConflict:
      return "conflict";
    case Errc::kTooLarge:
      return "too-large";
    case Errc::kUnsupported:
      return "unsupported";
    case Errc::kClosed:
      return "closed";
    case Errc::kInternal:
      return "internal";
  }
  return "unknown";
}

std::string describe(const Error& error) {
  return error.where.empty() ? error.message : error.where + ": " + error.message;
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "decklog: broken invariant: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace decklog
