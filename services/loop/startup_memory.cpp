#include "services/loop/startup_memory.hpp"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string_view>

namespace decklog::loop {
namespace {

// A segment that may never be written holds only what its file holds; one that relocations wrote to (data,
// RELRO) is a writable segment in the file's eyes and is left alone.
int give_back_segments(dl_phdr_info* object, std::size_t, void* what) {
  const bool storage = std::string_view(object->dlpi_name).find("rocksdb") != std::string_view::npos;
  if (*static_cast<const GiveBack*>(what) == GiveBack::kStorage && !storage) return 0;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    // Inwards, so that no page of a neighbour is touched.
    const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr + page - 1) / page * page;
    const std::uintptr_t end = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) / page * page;
    // The kernel's own object (vDSO) refuses; nothing is lost by that.
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
}

}  // namespace

StartupMemory::StartupMemory(boost::asio::io_context& context, GiveBack what, std::chrono::milliseconds after)
    : timer_(context, after) {
  timer_.async_wait([what](const boost::system::error_code& failed) {
    if (failed) return;
    ::malloc_trim(0);
    auto wanted = what;
    ::dl_iterate_phdr(give_back_segments, &wanted);
  });
}

StartupMemory::~StartupMemory() = default;

}  // namespace decklog::loop
