// durbroker PORT DIRECTORY: nullbroker, but each QoS 1 message is on disk before it is forwarded and
// acknowledged. One committer, one RocksDB batch and one fdatasync per round; deleted at the subscriber's
// PUBACK. What the machine can do with a durable broker that does nothing else.
#include <rocksdb/db.h>
#include <sys/eventfd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "tests/bench/tiny_broker.hpp"

namespace decklog::bench {
namespace {

struct Message {
  int publisher;
  std::uint16_t id;
  std::string topic, payload;
};
struct Round {
  std::vector<Message> messages;
  std::uint64_t acknowledged = 0;
};

class Committer {
 public:
  explicit Committer(const char* directory) : wake_(::eventfd(0, EFD_NONBLOCK)) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    options.recycle_log_file_num = 4;
    if (!rocksdb::DB::Open(options, directory, &db_).ok()) die("cannot open the database");
    thread_ = std::thread([this] { run(); });
  }
  int descriptor() const { return wake_; }
  void submit(Round& round) {
    {
      const std::lock_guard lock(mutex_);
      for (auto& message : round.messages) waiting_.messages.push_back(std::move(message));
      waiting_.acknowledged += round.acknowledged;
    }
    round.messages.clear();
    round.acknowledged = 0;
    work_.notify_one();
  }
  std::vector<Message> take() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto ignored = ::read(wake_, &count, sizeof count);
    const std::lock_guard lock(mutex_);
    return std::exchange(done_, {});
  }

 private:
  void run() {
    rocksdb::WriteOptions sync;
    sync.sync = true;
    std::uint64_t last = 0, oldest = 0;
    while (true) {
      Round round;
      {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [this] { return !waiting_.messages.empty(); });
        round = std::exchange(waiting_, {});
      }
      rocksdb::WriteBatch batch;
      for (const auto& message : round.messages) {
        const std::uint64_t key = __builtin_bswap64(++last);
        batch.Put({reinterpret_cast<const char*>(&key), 8}, message.payload);
      }
      for (; round.acknowledged > 0 && oldest < last; --round.acknowledged) {
        const std::uint64_t key = __builtin_bswap64(++oldest);
        batch.SingleDelete({reinterpret_cast<const char*>(&key), 8});
      }
      if (!db_->Write(sync, &batch).ok()) die("cannot write");
      {
        const std::lock_guard lock(mutex_);
        for (auto& message : round.messages) done_.push_back(std::move(message));
      }
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto ignored = ::write(wake_, &one, sizeof one);
    }
  }

  int wake_;
  rocksdb::DB* db_ = nullptr;
  std::mutex mutex_;
  std::condition_variable work_;
  Round waiting_;
  std::vector<Message> done_;
  std::thread thread_;
};

}  // namespace
}  // namespace decklog::bench

int main(int, char** argv) {
  using namespace decklog::bench;
  TinyBroker broker(std::atoi(argv[1]));
  Committer committer(argv[2]);
  Round round;
  broker.on_publish = [&](Peer& peer, const Frame& frame) {
    const auto publish = parts_of(frame);
    if (publish.qos == 0) return broker.forward(0, publish.topic, publish.payload);
    round.messages.push_back(
        {peer.socket, publish.id, std::string(publish.topic), std::string(publish.payload)});
  };
  broker.on_acknowledged = [&] { ++round.acknowledged; };
  broker.on_turn_end = [&] {
    if (!round.messages.empty()) committer.submit(round);
  };
  broker.on_wake = [&] {
    for (const auto& message : committer.take()) {
      broker.forward(1, message.topic, message.payload);
      if (Peer* peer = broker.peer(message.publisher); peer != nullptr) append_puback(peer->out, message.id);
    }
  };
  broker.watch(committer.descriptor());
  broker.run();
}
