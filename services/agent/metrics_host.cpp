#include "services/agent/metrics_host.hpp"

#include <mntent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace decklog::agent {
namespace {

// The mount whose root lies on the same device as the path.
void name_disk(const std::string& path, DiskFacts& disk) {
  struct stat wanted {};
  FILE* mounts = ::setmntent("/proc/self/mounts", "r");
  if (!mounts) return;
  if (::stat(path.c_str(), &wanted) == 0) {
    mntent entry{};
    char text[4096];
    while (::getmntent_r(mounts, &entry, text, sizeof text)) {
      struct stat root {};
      if (::stat(entry.mnt_dir, &root) != 0 || root.st_dev != wanted.st_dev) continue;
      disk.device = entry.mnt_fsname;
      disk.file_system = entry.mnt_type;
      break;
    }
  }
  ::endmntent(mounts);
}

std::optional<DiskFacts> read_disk(const std::string& path) {
  struct statvfs space {};
  if (::statvfs(path.c_str(), &space) != 0) return std::nullopt;
  DiskFacts disk;
  disk.bytes_total = static_cast<std::uint64_t>(space.f_blocks) * space.f_frsize;
  disk.bytes_available = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  name_disk(path, disk);
  return disk;
}

void read_memory(HostFacts& facts) {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  std::uint64_t kilobytes = 0, available = 0;
  while (in >> name >> kilobytes) {
    std::getline(in, unit);
    if (name == "MemTotal:") facts.memory_total_bytes = kilobytes * 1024;
    if (name == "MemAvailable:") available = kilobytes * 1024;
  }
  if (available <= facts.memory_total_bytes) facts.memory_used_bytes = facts.memory_total_bytes - available;
  std::ifstream own("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  if (own >> size >> resident)
    facts.own_memory_bytes = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

HostFacts read_host_facts(const std::string& path) {
  HostFacts facts;
  timespec up{};
  if (::clock_gettime(CLOCK_BOOTTIME, &up) == 0)
    facts.uptime_seconds = static_cast<double>(up.tv_sec) + static_cast<double>(up.tv_nsec) / 1e9;
  facts.disk = read_disk(path);
  read_memory(facts);
  utsname name{};
  if (::uname(&name) == 0)
    facts.description = std::string(name.sysname) + " " + name.release + " " + name.machine;
  return facts;
}

}  // namespace decklog::agent
