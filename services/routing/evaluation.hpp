// Runs conditions against one message. Make one per message and run every route's condition with it: the body
// is read as JSON at most once, and only if a condition asks for it. Lifetime: borrows the message view;
// values point into it, into the condition run and into this object. Thread: one thread. Failure: none; what
// cannot be computed is undefined. Limits: kMaxBodyBytes, kMaxBodyDepthLevels; kMaxTextWorkBytes of text made
// or scanned for one condition, more is undefined.
#pragma once

#include <boost/container/small_vector.hpp>
#include <memory>
#include <string>
#include <vector>

#include "services/routing/condition.hpp"
#include "services/routing/message_view.hpp"
#include "services/routing/value.hpp"

namespace decklog::routing {

class Body;  // the parsed JSON

class Evaluation final {
 public:
  explicit Evaluation(const MessageView& message);
  ~Evaluation();
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  Truth run(const Condition& condition);
  // The same without leaving anything out: one value for each part of the condition.
  Truth trace(const Condition& condition, std::vector<Value>& values);

  bool body_was_read() const { return body_ != nullptr; }
  // Why $body paths are undefined for this message; empty when the body can be read.
  std::string body_problem();

 private:
  Value compute(const Condition& condition, const Part& part, const Value* operands);
  Value leaf(const Condition& condition, const Part& part);
  Value call(const Part& part, const Value* arguments);
  Value numeric_call(const Part& part, const Value* arguments);
  Value text_call(const Part& part, const Value* arguments);
  Value substring(const Part& part, const Value* arguments);
  Value concatenated(const Value* pieces, std::size_t count);
  Value as_number(const Value& value);
  Value kept(std::string text);

  Value application(std::string_view name) const;
  Value system(std::string_view name) const;
  Value at_path(const BodyPath& path);
  Value twin_change(const BodyPath& path);
  const Body& body();
  bool spend(std::size_t bytes);

  const MessageView& message_;
  std::unique_ptr<Body> body_;
  std::vector<std::unique_ptr<std::string>> made_;
  std::size_t work_bytes_ = 0;
  boost::container::small_vector<Value, 16> stack_;
};

// How the value of a whole condition counts: null is false; text, numbers and undefined are undefined.
Truth truth_of(const Value& value, Type type);

}  // namespace decklog::routing
