// mqtt_load store: messages= QoS 1 messages for a persistent session that is away, then its return.
// phase=fill stops after the first half, to leave a full store behind.
#include "tests/bench/mqtt_load_flow.hpp"

namespace decklog::bench {
namespace {

constexpr const char* kParked = "parked";

struct Accepted {
  double seconds = 0;
  double cpu = 0;
};

Accepted fill(const Options& options, const Process& server, std::uint64_t messages) {
  Poll poll;
  Counts counts;
  Publisher publisher;
  const auto window = static_cast<std::uint64_t>(options.number("window", 1000));
  publisher.client = dial(static_cast<int>(options.number("port", 1883)), "filler", true);
  publisher.prepare(1, "bench/p0", static_cast<std::size_t>(options.number("payload", 256)));
  set_non_blocking(publisher.client->socket);
  poll.add(publisher.client->socket, 0);
  const double cpu = server.cpu_seconds();
  const auto begin = now_ns();
  while (publisher.acknowledged < messages) {
    while (publisher.sent < messages && publisher.sent - publisher.acknowledged < window)
      publisher.write(0, 0);
    poll.flush(*publisher.client, 0);
    poll.wait(1000, [&](std::size_t, bool readable) {
      if (!readable) return;
      const bool open = read_frames(publisher.client->socket, publisher.client->in,
                                    [&](const Frame& frame) { take_answer(publisher, frame, counts); });
      if (!open) die("the server closed a connection");
    });
  }
  const Accepted done{static_cast<double>(now_ns() - begin) / 1e9, server.cpu_seconds() - cpu};
  publisher.client->close();
  return done;
}

}  // namespace

int run_store(const Options& options) {
  const int port = static_cast<int>(options.number("port", 1883));
  const auto messages = static_cast<std::uint64_t>(options.number("messages", 100'000));
  const Process server(options.number("pid", 0));
  Subscriber parked;
  parked.expected.resize(1);
  parked.client = dial(port, kParked, false);
  parked.client->subscribe("bench/+", 1);
  parked.client->send_all(std::string_view("\xe0\x00", 2));
  parked.client->close();
  Report report;
  const auto rss_before = server.rss_kb();
  const auto accepted = fill(options, server, messages);
  const auto rss_full = server.rss_kb();
  const auto count = static_cast<double>(messages);
  report.add("accept_per_s", count / accepted.seconds);
  report.add("cpu_us_per_accept", accepted.cpu * 1e6 / count);
  if (options.text("phase") != "fill") {
    Poll poll;
    Counts counts;
    const double cpu = server.cpu_seconds();
    const auto begin = now_ns();
    parked.client = dial(port, kParked, false);
    set_non_blocking(parked.client->socket);
    poll.add(parked.client->socket, 0);
    const auto take = [&](const Frame& frame) { take_delivery(parked, frame, counts); };
    for (Frame early = next_frame(parked.client->in); early.size > 0; early = next_frame(parked.client->in)) {
      take(early);
      parked.client->in.erase(0, early.size);
    }
    auto last_news = now_ns();
    while (parked.expected[0] < messages && now_ns() - last_news < 10'000'000'000) {
      poll.flush(*parked.client, 0);
      poll.wait(1000, [&](std::size_t, bool readable) {
        if (readable && !read_frames(parked.client->socket, parked.client->in, take))
          die("the server closed a connection");
        last_news = now_ns();
      });
    }
    poll.flush(*parked.client, 0);
    report.add("drain_per_s", count * 1e9 / static_cast<double>(now_ns() - begin));
    report.add("cpu_us_per_drain", (server.cpu_seconds() - cpu) * 1e6 / count);
    report.add("lost", static_cast<double>(messages - parked.expected[0] + counts.lost));
    report.add("repeated", static_cast<double>(counts.repeated));
  }
  report.add("rss_before_kb", static_cast<double>(rss_before));
  report.add("rss_full_kb", static_cast<double>(rss_full));
  report.add("rss_after_kb", static_cast<double>(server.rss_kb()));
  report.print();
  return 0;
}

}  // namespace decklog::bench
