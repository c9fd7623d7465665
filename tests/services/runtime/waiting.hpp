// Waiting for asynchronous answers in tests: with a deadline, never with a sleep.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <type_traits>

#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

inline constexpr auto kTestDeadline = std::chrono::seconds(30);

// Runs `io` until the condition holds; false when it does not in time.
template <class Condition>
bool run_until(boost::asio::io_context& io, Condition condition,
               std::chrono::steady_clock::duration deadline = kTestDeadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    io.restart();
    io.run_one_for(std::chrono::milliseconds(20));
  }
  return true;
}

template <class T>
Result<T> no_answer() {
  return error(Errc::kInternal, "no answer within the test's deadline");
}

// Calls and waits. Fails the test when the callback runs inside the call.
template <class T, class Call>
Result<T> wait_for(boost::asio::io_context& io, Call call) {
  auto answer = std::make_shared<std::optional<Result<T>>>();
  auto inside = std::make_shared<bool>(true);
  [[maybe_unused]] const auto kept = [&] {
    const Callback<T> done = [answer, inside](Result<T> result) {
      EXPECT_FALSE(*inside) << "callback ran inside the call";
      EXPECT_FALSE(answer->has_value()) << "callback ran twice";
      *answer = std::move(result);
    };
    if constexpr (std::is_void_v<decltype(call(done))>) {
      call(done);
      return 0;
    } else {
      return call(done);
    }
  }();
  *inside = false;
  if (!run_until(io, [&] { return answer->has_value(); })) return no_answer<T>();
  return **answer;
}

}  // namespace decklog::runtime
