#include "services/broker/connection.hpp"

#include <algorithm>
#include <cstring>

#include "services/broker/engine.hpp"

namespace decklog::broker {
namespace {

constexpr int kReadRounds = 4;  // reads of one wake-up, so that nobody starves the others
constexpr std::size_t kFlushEarlyBytes = 128u << 10;  // do not let a burst pile up until the end of the turn

}  // namespace

Connection::Connection(Engine& engine, std::unique_ptr<Pipe> pipe, const ListenerInfo& from,
                       boost::asio::ip::tcp::endpoint peer)
    : listener(from), engine_(engine), pipe_(std::move(pipe)), peer_(std::move(peer)) {}

void Connection::start() {
  arm_read();
}

std::string Connection::peer_text() const {
  return peer_.address().to_string() + ":" + std::to_string(peer_.port());
}

bool Connection::accepts_input() const {
  return (phase == Phase::kAwaitConnect || phase == Phase::kOpen) && !input_paused_ && !output_full();
}

// Messages stop at max_output_bytes; what is beyond are answers, and who does not read them gets no new ones.
bool Connection::output_full() const {
  const auto& limits = engine_.limits();
  return write_armed_ && backlog() > limits.max_output_bytes + limits.max_packet_bytes;
}

void Connection::arm_read() {
  if (read_armed_ || phase == Phase::kGone || end_seen) return;
  if (phase != Phase::kLingering && !accepts_input()) return;
  read_armed_ = true;
  pipe_->wait_for_read(shared_from_this());
}

void Connection::on_readable() {
  read_armed_ = false;
  if (phase == Phase::kGone) return;
  if (phase == Phase::kLingering) return drain();
  for (int round = 0; round < kReadRounds && accepts_input(); ++round) {
    if (!read_once()) break;
  }
  arm_read();
}

// One read into the shared buffer, behind what was left of the last one. False when there is no point in
// another.
bool Connection::read_once() {
  auto& shared = engine_.read_buffer();
  if (partial_.size() > shared.size() / 2) {
    // A packet larger than the shared buffer: it grows with what has really arrived, not with what was
    // announced.
    const auto have = partial_.size();
    partial_.resize(have + shared.size() / 2);
    const auto result = pipe_->read(partial_.data() + have, shared.size() / 2);
    partial_.resize(have + (result.kind == IoResult::Kind::kBytes ? result.bytes : 0));
    if (!took_all(result, shared.size() / 2)) return false;
    const auto bytes = std::move(partial_);
    partial_ = {};
    keep_rest(std::string_view(bytes).substr(consume(bytes)));
    return true;
  }
  const auto have = partial_.size();
  std::memcpy(shared.data(), partial_.data(), have);
  const auto room = shared.size() - have;
  const auto result = pipe_->read(shared.data() + have, room);
  if (!took_all(result, room)) return false;
  const std::string_view bytes(shared.data(), have + result.bytes);
  keep_rest(bytes.substr(consume(bytes)));
  return result.bytes == room;  // a short read says that the socket is empty for now
}

bool Connection::took_all(IoResult result, std::size_t) {
  if (result.kind == IoResult::Kind::kBytes) {
    last_input_tick = engine_.tick();
    return true;
  }
  if (result.kind == IoResult::Kind::kWait) return false;
  end_seen = true;
  engine_.close(*this, result.kind == IoResult::Kind::kEnd ? "peer-closed" : "connection-failed");
  return false;
}

std::size_t Connection::consume(std::string_view bytes) {
  std::size_t used = 0;
  while (accepts_input()) {
    const auto frame = mqtt::next_frame(bytes.substr(used), engine_.packet_bound(*this));
    if (frame.status == mqtt::Frame::Status::kNeedMore) break;
    if (frame.status == mqtt::Frame::Status::kMalformed) {
      engine_.on_violation(*this, frame.violation);
      break;
    }
    used += frame.raw.size();
    engine_.on_frame(*this, frame);
  }
  return used;
}

void Connection::keep_rest(std::string_view rest) {
  if (rest.empty() || phase == Phase::kClosing || phase == Phase::kLingering || phase == Phase::kGone) {
    if (partial_.capacity() > 64) partial_ = {};
    partial_.clear();
    return;
  }
  partial_.assign(rest);
}

void Connection::resume_input() {
  if (!accepts_input()) return;
  if (!partial_.empty()) {
    const auto bytes = std::move(partial_);
    partial_ = {};
    keep_rest(std::string_view(bytes).substr(consume(bytes)));
  }
  arm_read();
}

std::string& Connection::out() {
  if (out_.empty()) engine_.lend_buffer(out_);
  return out_;
}

void Connection::commit_output() {
  if (backlog() >= kFlushEarlyBytes && !write_armed_) flush();
  if (backlog() > 0) {
    if (!dirty) engine_.mark_dirty(*this);
  } else if (out_.capacity() > 64) {  // borrowed and not used
    engine_.return_buffer(std::move(out_));
    out_ = {};
  }
}

void Connection::flush() {
  while (out_sent_ < out_.size() && !write_armed_ && phase != Phase::kGone) {
    const auto result = pipe_->write(out_.data() + out_sent_, out_.size() - out_sent_);
    if (result.kind == IoResult::Kind::kBytes) {
      out_sent_ += result.bytes;
    } else if (result.kind == IoResult::Kind::kWait) {
      write_armed_ = true;
      pipe_->wait_for_write(shared_from_this());
    } else {
      end_seen = true;
      out_sent_ = out_.size();
      engine_.close(*this, "connection-failed");
    }
  }
  if (out_sent_ == out_.size()) {
    if (out_.capacity() > 64) engine_.return_buffer(std::move(out_));
    out_ = {};
    out_sent_ = 0;
  } else if (out_sent_ > out_.size() / 2) {
    out_.erase(0, out_sent_);
    out_sent_ = 0;
  }
}

void Connection::on_writable() {
  write_armed_ = false;
  if (phase == Phase::kGone) return;
  flush();
  if (phase == Phase::kLingering) return linger();
  if (phase == Phase::kOpen && backlog() == 0) engine_.wants_pump(*this);
  if (!read_armed_ && accepts_input()) engine_.wants_input(*this);
}

void Connection::answer(std::string bytes, MessageKey message, GroupKey group) {
  if (answers_.empty() && engine_.is_durable(message, group)) {
    out().append(bytes);
    return commit_output();
  }
  add_answer({std::move(bytes), message, group, false});
  engine_.waits_for_store(*this);
}

std::uint64_t Connection::hold_answer(GroupKey group) {
  add_answer({{}, 0, group, true});
  return first_answer_ + answers_.size() - 1;
}

void Connection::fill_answer(std::uint64_t place, std::string bytes) {
  if (place < first_answer_ || place >= first_answer_ + answers_.size()) return;
  auto& waiting = answers_[place - first_answer_];
  waiting.bytes = std::move(bytes);
  waiting.held = false;
  if (place == first_answer_) flush_answers();
}

void Connection::flush_answers() {
  while (!answers_.empty()) {
    const auto& first = answers_.front();
    if (first.held || !engine_.is_durable(first.message, first.group)) break;
    out().append(first.bytes);
    answers_.pop_front();
    ++first_answer_;
  }
  if (answers_.empty() && answers_.capacity() > 64) answers_.set_capacity(0);
  commit_output();
  if (input_paused_ && answers_.size() <= engine_.limits().max_unacknowledged_publishes / 2) {
    input_paused_ = false;
    engine_.wants_input(*this);
  }
}

void Connection::add_answer(PendingAnswer answer) {
  if (answers_.full()) answers_.set_capacity(std::max<std::size_t>(16, answers_.capacity() * 2));
  answers_.push_back(std::move(answer));
  if (answers_.size() >= engine_.limits().max_unacknowledged_publishes) input_paused_ = true;
}

bool Connection::waits_between(const PendingAnswer& after, const PendingAnswer& through) const {
  for (const auto& each : answers_) {
    if (each.group > after.group && each.group <= through.group) return true;
    if (each.message > after.message && each.message <= through.message) return true;
  }
  return false;
}

// Flush, say goodbye, then discard until the peer's FIN; the deadline is armed by the engine.
void Connection::linger() {
  if (phase == Phase::kGone) return;
  if (end_seen) return destroy();
  if (backlog() > 0) flush();
  if (end_seen) return destroy();
  if (backlog() > 0) return;  // on_writable() comes back here
  if (!shut_) {
    shut_ = true;
    pipe_->shutdown_write();
  }
  drain();
}

void Connection::drain() {
  auto& shared = engine_.read_buffer();
  for (int round = 0; round < kReadRounds; ++round) {
    const auto result = pipe_->read(shared.data(), shared.size());
    if (result.kind == IoResult::Kind::kWait) break;
    if (result.kind == IoResult::Kind::kBytes) continue;
    end_seen = true;
    return destroy();
  }
  arm_read();
}

void Connection::destroy() {
  if (phase == Phase::kGone) return;
  phase = Phase::kGone;
  pipe_->close();
  engine_.forget(*this);
}

}  // namespace decklog::broker
