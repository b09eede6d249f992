// Reads a manifest out of a file that nobody has vouched for. Sizes are compared with the file's
// and with a bound before anything is allocated, and nothing is mapped: a mapped file can shrink.
#include <elf.h>
#include <fcntl.h>
#include <gelf.h>
#include <link.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/unique_fd.h"
#include "lastcall/plugin/descriptor_names.h"
#include "lastcall/plugin/manifest.h"
#include "lastcall/plugin/manifest_note.h"

// This program's own ELF header, as the linker lays it out: what machine it is for.
extern "C" __attribute__((visibility("hidden"))) const ElfW(Ehdr) __ehdr_start;  // NOLINT

namespace lastcall {
namespace {

constexpr uint64_t kMaxFile = 1 << 30;
constexpr size_t kMaxSegments = 256;
constexpr uint64_t kMaxNotes = 16 << 20;
constexpr size_t kMaxText = 4096;
constexpr size_t kMaxBuildId = 64;

struct ElfEnd {
  void operator()(Elf* elf) const { elf_end(elf); }
};
using ElfFile = std::unique_ptr<Elf, ElfEnd>;

std::string MachineName(unsigned machine) {
  switch (machine) {
    case EM_X86_64: return "x86-64";
    case EM_386: return "i386";
    case EM_AARCH64: return "AArch64";
    case EM_ARM: return "ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "ppc64";
    case EM_S390: return "s390x";
    default: return "machine " + std::to_string(machine);
  }
}

// "x86-64, 64 bits": of the ELF header's machine and identification.
std::string Target(unsigned machine, const unsigned char* ident) {
  return MachineName(machine) + (ident[EI_CLASS] == ELFCLASS32 ? ", 32 bits" : ", 64 bits") +
         (ident[EI_DATA] == ELFDATA2MSB ? ", big-endian" : "");
}

class ManifestReader {
 public:
  explicit ManifestReader(const std::string& path) { manifest_.path = path; }

  Result<Manifest> Read() {
    for (const auto step : {&ManifestReader::Open, &ManifestReader::CheckHeader,
                            &ManifestReader::CheckComplete, &ManifestReader::ReadNotes}) {
      if (Result<> done = (this->*step)(); !done) return tl::unexpected(done.error());
    }
    return std::move(manifest_);
  }

 private:
  Result<> Open();
  Result<> CheckHeader();
  Result<> CheckComplete();
  Result<> ReadNotes();
  Result<> ReadSegment(const GElf_Phdr& segment);
  Result<> TakeNote(std::string_view owner, uint32_t type, std::string_view bytes);
  Result<> TakeDescriptors(std::string_view bytes);

  bool HasRange(uint64_t offset, uint64_t size) const {
    return offset <= file_size_ && size <= file_size_ - offset;
  }
  tl::unexpected<Error> Refuse(std::string_view what) const {
    return Fail(Code::kInvalidArgument, manifest_.path + " " + std::string(what));
  }
  tl::unexpected<Error> Damaged(std::string_view what) const {
    return Fail(Code::kDataLoss, manifest_.path + " is damaged: " + std::string(what));
  }

  Manifest manifest_;
  UniqueFd fd_;
  uint64_t file_size_ = 0;
  ElfFile elf_;
  GElf_Ehdr header_{};
  std::vector<GElf_Phdr> segments_;
  bool has_text_ = false;
};

Result<> ManifestReader::Open() {
  // Not blocking: a FIFO would wait for a writer.
  fd_.Reset(::open(manifest_.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd_) {
    const int error = errno;
    const Code code = error == ENOENT || error == ENOTDIR ? Code::kNotFound
                      : error == EACCES                   ? Code::kPermissionDenied
                                                          : Code::kInternal;
    return Fail(code, "cannot open the plugin " + manifest_.path + ": " + ErrnoText(error));
  }
  struct stat file {};
  if (::fstat(fd_.get(), &file) != 0) return FailErrno("cannot stat " + manifest_.path, errno);
  if (S_ISDIR(file.st_mode)) return Refuse("is a directory, not a plugin");
  if (!S_ISREG(file.st_mode)) return Refuse("is not a regular file, so it is not a plugin");
  file_size_ = static_cast<uint64_t>(file.st_size);
  if (file_size_ > kMaxFile) return Refuse("is larger than 1 GiB; strip it");

  elf_version(EV_CURRENT);
  elf_.reset(elf_begin(fd_.get(), ELF_C_READ, nullptr));
  if (elf_ == nullptr || elf_kind(elf_.get()) != ELF_K_ELF) {
    return Refuse("is not an ELF file; a plugin is a shared object made by lastcall_add_plugin()");
  }
  return {};
}

Result<> ManifestReader::CheckHeader() {
  if (gelf_getehdr(elf_.get(), &header_) == nullptr) return Damaged("its ELF header is cut off");
  const auto& own = __ehdr_start;
  if (header_.e_machine != own.e_machine || header_.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] ||
      header_.e_ident[EI_DATA] != own.e_ident[EI_DATA]) {
    return Refuse("is built for " + Target(header_.e_machine, header_.e_ident) + "; this host is " +
                  Target(own.e_machine, own.e_ident));
  }
  if (header_.e_type != ET_DYN) {
    return Refuse(
        "is not a shared object (an object file, a program or a core); a plugin is one, made by "
        "lastcall_add_plugin()");
  }
  return {};
}

// A file that was copied half-way has its notes, for they come first; but loading it would be
// SIGBUS.
Result<> ManifestReader::CheckComplete() {
  size_t count = 0;
  if (elf_getphdrnum(elf_.get(), &count) != 0 || count == 0 || count > kMaxSegments) {
    return Damaged("its table of segments is unusable");
  }
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr segment;
    if (gelf_getphdr(elf_.get(), static_cast<int>(i), &segment) == nullptr) {
      return Damaged("its table of segments is cut off");
    }
    if (!HasRange(segment.p_offset, segment.p_filesz)) {
      return Damaged("it is cut off within a segment; copy it again");
    }
    segments_.push_back(segment);
  }
  const uint64_t sections = uint64_t{header_.e_shnum} * header_.e_shentsize;
  if (header_.e_shoff != 0 && !HasRange(header_.e_shoff, sections)) {
    return Damaged("its end is cut off; copy it again");
  }
  return {};
}

Result<> ManifestReader::ReadNotes() {
  uint64_t left = kMaxNotes;
  for (const GElf_Phdr& segment : segments_) {
    if (segment.p_type != PT_NOTE || segment.p_filesz == 0) continue;
    if (segment.p_filesz > left) return Damaged("its notes are larger than 16 MiB");
    left -= segment.p_filesz;
    if (Result<> read = ReadSegment(segment); !read) return read;
  }
  if (!has_text_) {
    return Refuse(
        "is not a Lastcall plugin: it has no manifest; build it with lastcall_add_plugin()");
  }
  return {};
}

Result<> ManifestReader::ReadSegment(const GElf_Phdr& segment) {
  Elf_Data* data =
      elf_getdata_rawchunk(elf_.get(), static_cast<int64_t>(segment.p_offset), segment.p_filesz,
                           segment.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
  if (data == nullptr) return Damaged("its notes cannot be read");
  const auto* bytes = static_cast<const char*>(data->d_buf);
  GElf_Nhdr note;
  size_t owner_at = 0;
  size_t desc_at = 0;
  // gelf_getnote() returns notes only that lie within `data`; 0 is the end, or a bad one.
  for (size_t at = 0; (at = gelf_getnote(data, at, &note, &owner_at, &desc_at)) != 0;) {
    const std::string_view owner(bytes + owner_at, note.n_namesz);
    const std::string_view desc(bytes + desc_at, note.n_descsz);
    if (Result<> taken = TakeNote(owner, note.n_type, desc); !taken) return taken;
  }
  return {};
}

Result<> ManifestReader::TakeNote(std::string_view owner, uint32_t type, std::string_view bytes) {
  if (owner == std::string_view("GNU", 4) && type == NT_GNU_BUILD_ID) {
    if (bytes.size() > kMaxBuildId) return Damaged("its build id is too long");
    manifest_.build_id.clear();
    for (const unsigned char byte : bytes) {
      manifest_.build_id += "0123456789abcdef"[byte >> 4];
      manifest_.build_id += "0123456789abcdef"[byte & 15];
    }
  }
  if (owner != std::string_view(kNoteOwner, sizeof(kNoteOwner))) return {};
  if (type == kDescriptorsNote) return TakeDescriptors(bytes);
  if (type != kManifestNote) return {};  // of a later version
  if (has_text_) return Damaged("it has two manifests; two plugins were linked into one file");
  has_text_ = true;
  if (bytes.size() > kMaxText) return Damaged("its manifest is longer than 4 KiB");
  if (Result<> parsed = internal::ParseManifestText(bytes, &manifest_); !parsed) {
    return Damaged(parsed.error().message);
  }
  return {};
}

Result<> ManifestReader::TakeDescriptors(std::string_view bytes) {
  const std::optional<DescriptorNames> names = ReadDescriptorNames(bytes);
  if (!names) return Damaged("the .proto files in its manifest cannot be read");
  for (const auto* list :
       {&names->files, &names->needed_files, &names->services, &names->symbols}) {
    if (!std::all_of(list->begin(), list->end(), IsSafeText)) {
      return Damaged("a name in the .proto files of its manifest is not valid text");
    }
  }
  manifest_.files = names->files;
  manifest_.needed_files = names->needed_files;
  manifest_.services = names->services;
  manifest_.symbols = names->symbols;
  return {};
}

}  // namespace

Result<Manifest> ReadManifest(const std::string& path) { return ManifestReader(path).Read(); }

}  // namespace lastcall
