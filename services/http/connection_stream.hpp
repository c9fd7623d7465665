// Private to this folder: the streamed-response half of Connection.
#pragma once

#include <sys/socket.h>

#include <boost/asio/post.hpp>

#include "services/http/connection.hpp"

namespace decklog::http {

template <class Stream>
std::shared_ptr<ResponseStream> Connection<Stream>::begin_stream(int status, std::string content_type) {
  if (phase_ != Phase::kHandler) return nullptr;
  phase_ = Phase::kStream;
  queue_ = std::make_shared<StreamQueue>(limits_.stream_buffer_bytes);
  using Empty = beast::http::empty_body;
  auto message = std::make_shared<beast::http::response<Empty>>();
  if (version_ < 11)
    last_request_ = true;  // HTTP/1.0 knows no chunks: the end of the connection ends the body
  set_fields(*message, status, content_type);
  if (version_ >= 11) message->chunked(true);
  auto serializer = std::make_shared<beast::http::response_serializer<Empty>>(*message);
  writing_ = true;
  arm(limits_.write_deadline);
  beast::http::async_write_header(
      stream_, *serializer,
      [self = this->shared_from_this(), message, serializer](beast::error_code failure, std::size_t) {
        if (self->phase_ == Phase::kEnded) return;
        if (failure) return self->cut();
        self->writing_ = false;
        self->disarm();
        self->watch_for_close();
        self->pump();
      });
  // Posted: write() inside a handler must not run network code under it.
  queue_->set_wake([weak = this->weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->writing_) return;
    asio::post(self->stream_.get_executor(), [weak] {
      if (auto again = weak.lock()) again->pump();
    });
  });
  return std::make_shared<QueuedStream>(queue_);
}

template <class Stream>
void Connection<Stream>::pump() {
  if (phase_ != Phase::kStream || writing_ || !queue_) return;
  if (queue_->has_bytes()) return write_chunk(queue_->take(), false);
  if (queue_->closing()) write_chunk({}, true);
}

template <class Stream>
void Connection<Stream>::write_chunk(std::string bytes, bool last) {
  writing_ = true;
  arm(limits_.write_deadline);
  auto held = std::make_shared<std::string>(std::move(bytes));
  auto done = [self = this->shared_from_this(), held, last](beast::error_code failure, std::size_t) {
    if (self->phase_ == Phase::kEnded) return;
    if (failure) return self->cut();
    self->writing_ = false;
    self->disarm();
    if (!last) {
      const auto queue = self->queue_;
      queue->taken();
      return self->pump();
    }
    if (auto queue = std::exchange(self->queue_, nullptr)) queue->finished();
    self->socket().cancel();  // the wait of watch_for_close
    self->answered();
  };
  if (version_ < 11) return asio::async_write(stream_, asio::buffer(*held), std::move(done));
  if (last) return asio::async_write(stream_, beast::http::make_chunk_last(), std::move(done));
  asio::async_write(stream_, beast::http::make_chunk(asio::buffer(*held)), std::move(done));
}

// A stream may be silent for hours: without this a reader that went away would be noticed at the next write
// only.
template <class Stream>
void Connection<Stream>::watch_for_close() {
  socket().async_wait(Socket::wait_read, [self = this->shared_from_this()](beast::error_code failure) {
    if (failure || self->phase_ != Phase::kStream) return;
    char byte = 0;
    const auto count = ::recv(self->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return self->cut();
    // A next request already there is read after this one; no need to look further.
    if (count < 0) self->watch_for_close();
  });
}

}  // namespace decklog::http
