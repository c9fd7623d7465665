#include "events/build.hpp"

#include <elf.h>
#include <link.h>

#include <cstring>

namespace decklog {
namespace {

// The linker's build id note of the main program (the first object the dynamic linker lists).
int read_note(dl_phdr_info* object, std::size_t, void* out) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& header = object->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const char* at = reinterpret_cast<const char*>(object->dlpi_addr + header.p_vaddr);
    const char* end = at + header.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* name = at + sizeof note;
      const char* text = name + ((note.n_namesz + 3) & ~3u);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
        static constexpr char kDigits[] = "0123456789abcdef";
        auto& id = *static_cast<std::string*>(out);
        for (unsigned b = 0; b < note.n_descsz && b < 8; ++b) {
          const auto byte = static_cast<unsigned char>(text[b]);
          id += kDigits[byte >> 4];
          id += kDigits[byte & 15];
        }
        return 1;
      }
      at = text + ((note.n_descsz + 3) & ~3u);
    }
  }
  return 1;  // only the main program
}

}  // namespace

const std::string& build_id() {
  static const std::string id = [] {
    std::string digits;
    dl_iterate_phdr(read_note, &digits);
    return std::string(kVersion) + "+" + (digits.empty() ? "unknown" : digits);
  }();
  return id;
}

}  // namespace decklog
