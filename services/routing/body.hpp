// A message body read as JSON. Owns its tree. Never fails: problem() says why there is nothing to read.
// A body is read when contentType is application/json (nothing after it), contentEncoding is utf-8, utf-16 or
// utf-32 and the bytes are one JSON object.
#pragma once

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "services/routing/condition.hpp"

namespace decklog::routing {

class Body final {
 public:
  Body(std::string_view bytes, std::string_view content_type, std::string_view content_encoding);

  bool readable() const { return problem_.empty(); }
  const std::string& problem() const { return problem_; }
  // Nothing when a step of the path is missing; only for a readable body.
  const boost::json::value* find(const std::vector<PathStep>& steps) const;

 private:
  unsigned char first_block_[4096];
  boost::json::monotonic_resource memory_;
  boost::json::value root_;
  std::string problem_;
};

}  // namespace decklog::routing
