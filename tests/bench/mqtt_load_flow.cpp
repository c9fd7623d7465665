// mqtt_load flow: throughput in a closed loop (window=, ahead=), or latency at a fixed rate (rate=
// messages/s).
#include "tests/bench/mqtt_load_flow.hpp"

#include <sys/timerfd.h>

namespace decklog::bench {
namespace {

constexpr std::size_t kTimer = 1'000'000;         // its tag in the poll
constexpr std::size_t kOutputBytes = 128u << 10;  // written ahead of a publisher's socket
constexpr std::int64_t kSecond = 1'000'000'000;

class Flow {
 public:
  explicit Flow(const Options& options)
      : server_(options.number("pid", 0)),
        qos_(static_cast<int>(options.number("qos", 0))),
        window_(static_cast<std::uint64_t>(options.number("window", 100))),
        ahead_(static_cast<std::uint64_t>(options.number("ahead", 200))),
        rate_(options.number("rate", 0)),
        length_ns_(static_cast<std::int64_t>(options.number("ms", 1000)) * 1'000'000) {
    const int port = static_cast<int>(options.number("port", 1883));
    const bool clean = options.number("clean", 1) != 0;
    publishers_.resize(static_cast<std::size_t>(options.number("publishers", 1)));
    subscribers_.resize(static_cast<std::size_t>(options.number("subscribers", 1)));
    for (std::size_t i = 0; i < subscribers_.size(); ++i) {
      subscribers_[i].client = dial(port, "sub" + std::to_string(i), clean);
      subscribers_[i].client->subscribe("bench/+", qos_);
      subscribers_[i].expected.resize(publishers_.size());
      join(*subscribers_[i].client, publishers_.size() + i);
    }
    for (std::size_t i = 0; i < publishers_.size(); ++i) {
      publishers_[i].client = dial(port, "pub" + std::to_string(i), true);
      publishers_[i].prepare(qos_, "bench/p" + std::to_string(i),
                             static_cast<std::size_t>(options.number("payload", 256)));
      join(*publishers_[i].client, i);
    }
  }

  int run() {
    if (rate_ > 0) start_timer();
    turn_until(now_ns() + length_ns_ / 4);  // warm-up
    counts_ = {};
    counts_.keep_times = rate_ > 0;
    const double cpu = server_.cpu_seconds();
    const auto sent = total_sent();
    const auto begin = now_ns();
    turn_until(begin + length_ns_);
    const double seconds = static_cast<double>(now_ns() - begin) / 1e9;
    const double spent = server_.cpu_seconds() - cpu;
    const auto published = total_sent() - sent;
    const auto deliveries = counts_.deliveries;
    drain();
    Report report;
    report.add("deliveries_per_s", static_cast<double>(deliveries) / seconds);
    report.add("publishes_per_s", static_cast<double>(published) / seconds);
    report.add("cpu_us_per_publish",
               spent * 1e6 / static_cast<double>(std::max<std::uint64_t>(published, 1)));
    report.add("cpu_percent", spent / seconds * 100);
    report.add("lost", static_cast<double>(counts_.lost + missing()));
    report.add("repeated", static_cast<double>(counts_.repeated));
    if (rate_ > 0) {
      report.add("end_to_end_p50_us", percentile(counts_.end_to_end, 0.5));
      report.add("end_to_end_p99_us", percentile(counts_.end_to_end, 0.99));
      report.add("puback_p50_us", percentile(counts_.acknowledged, 0.5));
      report.add("puback_p99_us", percentile(counts_.acknowledged, 0.99));
    }
    report.print();
    return 0;
  }

 private:
  void join(Client& client, std::size_t tag) {
    set_non_blocking(client.socket);
    poll_.add(client.socket, tag);
  }
  std::uint64_t total_sent() const {
    std::uint64_t sum = 0;
    for (const auto& publisher : publishers_) sum += publisher.sent;
    return sum;
  }
  std::uint64_t missing() const {
    std::uint64_t sum = 0;
    for (const auto& subscriber : subscribers_) {
      for (std::size_t i = 0; i < publishers_.size(); ++i)
        sum += publishers_[i].sent - subscriber.expected[i];
    }
    return sum;
  }
  void start_timer() {
    timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    next_due_ns_ = now_ns() + kSecond / 100;
    poll_.add(timer_, kTimer);
    arm_timer();
  }
  void arm_timer() {
    itimerspec at{};
    at.it_value.tv_sec = next_due_ns_ / kSecond;
    at.it_value.tv_nsec = next_due_ns_ % kSecond;
    ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &at, nullptr);
  }
  void on_timer() {
    for (; next_due_ns_ <= now_ns(); next_due_ns_ += kSecond / rate_) {
      if (!publishing_) continue;
      const auto which = total_sent() % publishers_.size();
      publishers_[which].write(static_cast<std::uint32_t>(which), next_due_ns_);
    }
    arm_timer();
  }
  void publish_what_fits() {
    for (std::size_t i = 0; i < publishers_.size(); ++i) {
      auto& publisher = publishers_[i];
      if (rate_ == 0 && publishing_) {
        if (!subscribers_.empty()) publisher.delivered = subscribers_[0].expected[i];
        for (const auto& subscriber : subscribers_) {
          publisher.delivered = std::min(publisher.delivered, subscriber.expected[i]);
        }
        while (publisher.client->out.size() < kOutputBytes &&
               (subscribers_.empty() || publisher.sent - publisher.delivered < ahead_) &&
               (qos_ == 0 || publisher.sent - publisher.acknowledged < window_)) {
          publisher.write(static_cast<std::uint32_t>(i), 0);
        }
      }
      poll_.flush(*publisher.client, i);
    }
  }
  void turn() {
    publish_what_fits();
    poll_.wait(20, [&](std::size_t tag, bool readable) {
      if (tag == kTimer) return on_timer();
      if (!readable) return;
      const bool publisher = tag < publishers_.size();
      auto& client = publisher ? *publishers_[tag].client : *subscribers_[tag - publishers_.size()].client;
      const bool open = read_frames(client.socket, client.in, [&](const Frame& frame) {
        if (publisher) return take_answer(publishers_[tag], frame, counts_);
        take_delivery(subscribers_[tag - publishers_.size()], frame, counts_);
      });
      if (!open) die("the server closed a connection");
    });
    for (std::size_t i = 0; i < subscribers_.size(); ++i) {
      poll_.flush(*subscribers_[i].client, publishers_.size() + i);
    }
  }
  void turn_until(std::int64_t when) {
    while (now_ns() < when) turn();
  }
  // What is under way may arrive; nothing for two seconds means that it is lost.
  void drain() {
    publishing_ = false;
    auto last = missing();
    auto deadline = now_ns() + 2 * kSecond;
    while (last > 0 && now_ns() < deadline) {
      turn();
      if (missing() < last) deadline = now_ns() + 2 * kSecond;
      last = missing();
    }
    turn_until(now_ns() + kSecond / 20);  // the last acknowledgements
  }

  Process server_;
  int qos_;
  std::uint64_t window_, ahead_;
  long rate_;
  std::int64_t length_ns_;
  std::vector<Publisher> publishers_;
  std::vector<Subscriber> subscribers_;
  Poll poll_;
  Counts counts_;
  int timer_ = -1;
  std::int64_t next_due_ns_ = 0;
  bool publishing_ = true;
};

}  // namespace

int run_flow(const Options& options) {
  return Flow(options).run();
}

}  // namespace decklog::bench
