// mqtt_load flow|store|idle|fsync key=value...: one measurement against the broker at port=, one line of
// JSON. The process pid= is watched for CPU and memory. Publishers and subscribers share this process, so
// that their clock is one, and batch their reads and writes, so that the broker is what limits.
#include "tests/bench/mqtt_load.hpp"

namespace decklog::bench {
namespace {

// What one fdatasync of an appended message costs in directory=.
int run_fsync(const Options& options) {
  const std::string path = options.text("directory") + "/fsync-probe";
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) die("cannot create the probe");
  const std::string bytes(300, 'x');
  std::vector<std::int64_t> took;
  for (int i = 0; i < 400; ++i) {
    if (::write(file, bytes.data(), bytes.size()) < 0) die("write");
    const auto begin = now_ns();
    if (::fdatasync(file) != 0) die("fdatasync");
    took.push_back(now_ns() - begin);
  }
  ::close(file);
  ::unlink(path.c_str());
  Report report;
  report.add("fdatasync_p50_us", percentile(took, 0.5));
  report.add("fdatasync_p99_us", percentile(took, 0.99));
  report.print();
  return 0;
}

}  // namespace
}  // namespace decklog::bench

int main(int argc, char** argv) {
  using namespace decklog::bench;
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const Options options(argc, argv);
  if (mode == "flow") return run_flow(options);
  if (mode == "store") return run_store(options);
  if (mode == "idle") return run_idle(options);
  if (mode == "fsync") return run_fsync(options);
  std::fprintf(stderr, "usage: mqtt_load flow|store|idle|fsync key=value...\n");
  return 2;
}
