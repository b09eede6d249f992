// A file that says it is a plugin. The input is the whole file; where it does not begin like one, it is
// the notes of a file that does.
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/fuzz/target.h"

#include <lastcall/base/unique_fd.h>
#include <lastcall/plugin/manifest.h>

namespace {

// A shared object of this machine with one segment, which holds `notes`.
std::string FileWith(const std::string& notes) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_DYN;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(header);
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = sizeof(header) + sizeof(segment);
  segment.p_filesz = notes.size();
  segment.p_align = 4;
  std::string file(reinterpret_cast<const char*>(&header), sizeof(header));
  file.append(reinterpret_cast<const char*>(&segment), sizeof(segment));
  return file + notes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const lastcall::UniqueFd fd(memfd_create("plugin", 0));
  static const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  std::string file(reinterpret_cast<const char*>(data), size);
  if (!file.starts_with(ELFMAG)) file = FileWith(file);
  if (ftruncate(fd.get(), 0) != 0) std::abort();
  if (pwrite(fd.get(), file.data(), file.size(), 0) != static_cast<ssize_t>(file.size())) {
    std::abort();
  }
  const auto manifest = lastcall::ReadManifest(path);
  if (!manifest) {
    if (manifest.error().message.find(path) == std::string::npos) std::abort();
    return 0;
  }
  Mismatches(*manifest, lastcall::HostManifest());
  auto other = *manifest;
  other.path = "other";
  lastcall::Clashes({{"one", *manifest}, {"two", other}});
  return 0;
}
