// What the metrics say of the machine: read from the kernel when somebody scrapes. Nothing here is stored or
// decided by. A fact that cannot be read stays empty and its series is left out. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace decklog::agent {

struct DiskFacts {
  std::string device, file_system;  // "/dev/sda1", "ext4"
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_available = 0;  // to a user without privileges
};

struct HostFacts {
  double uptime_seconds = 0;
  std::optional<DiskFacts> disk;
  std::uint64_t memory_total_bytes = 0;
  std::uint64_t memory_used_bytes = 0;  // total without what the kernel calls available
  std::uint64_t own_memory_bytes = 0;   // resident, of this process
  std::string description;              // "Linux 6.1.0 x86_64"
};

// `path` lies on the disk that is meant.
HostFacts read_host_facts(const std::string& path);

}  // namespace decklog::agent
