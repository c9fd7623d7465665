// Private to this folder: bytes on their way from a handler to a streamed response.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "services/http/server.hpp"

namespace decklog::http {

class StreamQueue final {
 public:
  explicit StreamQueue(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  Status write(std::string bytes) {
    if (gone_ || closing_) return error(Errc::kClosed, "the response has ended");
    if (pending_.size() + in_flight_ + bytes.size() > limit_bytes_) {
      return error(Errc::kTooLarge, "the peer does not read fast enough");
    }
    pending_ += bytes;
    notify();
    return {};
  }
  void close() {
    if (gone_ || std::exchange(closing_, true)) return;
    notify();
  }
  void peer_gone() {
    if (std::exchange(gone_, true)) return;
    pending_.clear();
    on_drained_ = nullptr;
    wake_ = nullptr;
    if (auto callback = std::exchange(on_closed_, nullptr)) callback();
  }
  void finished() {  // the last chunk is out
    gone_ = true;
    on_closed_ = nullptr;
    on_drained_ = nullptr;
    wake_ = nullptr;
  }
  std::string take() {
    in_flight_ = pending_.size();
    return std::exchange(pending_, {});
  }
  void taken() {
    const bool some = std::exchange(in_flight_, 0) > 0;
    if (some && pending_.empty() && on_drained_) {
      auto callback = on_drained_;  // it may set another one
      callback();
    }
  }
  bool has_bytes() const { return !pending_.empty(); }
  bool closing() const { return closing_; }
  std::size_t buffered_bytes() const { return pending_.size() + in_flight_; }

  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }
  void set_on_closed(std::function<void()> callback) {
    if (!gone_) on_closed_ = std::move(callback);
  }
  void set_on_drained(std::function<void()> callback) {
    if (!gone_) on_drained_ = std::move(callback);
  }

 private:
  void notify() {
    if (wake_) wake_();
  }

  std::size_t limit_bytes_;
  std::string pending_;
  std::size_t in_flight_ = 0;
  bool closing_ = false;
  bool gone_ = false;
  std::function<void()> wake_, on_closed_, on_drained_;
};

// The handler's end: dropping it ends the response.
class QueuedStream final : public ResponseStream {
 public:
  explicit QueuedStream(std::shared_ptr<StreamQueue> queue) : queue_(std::move(queue)) {}
  ~QueuedStream() override {
    queue_->set_on_closed(nullptr);
    queue_->set_on_drained(nullptr);
    queue_->close();
  }
  Status write(std::string bytes) override { return queue_->write(std::move(bytes)); }
  void close() override { queue_->close(); }
  std::size_t buffered_bytes() const override { return queue_->buffered_bytes(); }
  void on_closed(std::function<void()> callback) override { queue_->set_on_closed(std::move(callback)); }
  void on_drained(std::function<void()> callback) override { queue_->set_on_drained(std::move(callback)); }

 private:
  std::shared_ptr<StreamQueue> queue_;
};

}  // namespace decklog::http
