#include "lastcall/threads/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <link.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/unique_fd.h"

namespace lastcall {
namespace {

// Of a demangled name; templates make long ones.
constexpr size_t kMostOfName = 1024;

struct Symbol {
  std::string name;
  uint64_t offset = 0;  // of the address within it
};

// The function in `table` that holds `address`, relative to where the file was loaded.
Symbol FindIn(Elf* elf, Elf_Scn* section, const GElf_Shdr& header, uint64_t address) {
  Elf_Data* data = elf_getdata(section, nullptr);
  if (data == nullptr || header.sh_entsize == 0) return {};
  const int count = static_cast<int>(header.sh_size / header.sh_entsize);
  for (int i = 0; i < count; ++i) {
    GElf_Sym symbol;
    if (gelf_getsym(data, i, &symbol) == nullptr) break;
    if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
    if (address < symbol.st_value || address >= symbol.st_value + symbol.st_size) continue;
    const char* const name = elf_strptr(elf, header.sh_link, symbol.st_name);
    // Behind an @ is the version.
    const std::string_view whole(name != nullptr ? name : "");
    return {std::string(whole.substr(0, whole.find('@'))), address - symbol.st_value};
  }
  return {};
}

Symbol FindInTable(Elf* elf, Elf64_Word type, uint64_t address) {
  Elf_Scn* section = nullptr;
  while ((section = elf_nextscn(elf, section)) != nullptr) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr || header.sh_type != type) continue;
    return FindIn(elf, section, header, address);
  }
  return {};
}

Symbol FindInFile(const char* file, uint64_t address) {
  const UniqueFd fd(open(file, O_RDONLY | O_CLOEXEC));
  if (!fd || elf_version(EV_CURRENT) == EV_NONE) return {};
  const std::unique_ptr<Elf, int (*)(Elf*)> elf(elf_begin(fd.get(), ELF_C_READ_MMAP, nullptr),
                                                &elf_end);
  if (elf == nullptr) return {};
  Symbol symbol = FindInTable(elf.get(), SHT_SYMTAB, address);
  return symbol.name.empty() ? FindInTable(elf.get(), SHT_DYNSYM, address) : symbol;
}

std::string Demangle(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return SafeText(status == 0 ? text.get() : name, kMostOfName);
}

std::string Hex(uint64_t value) {
  char buffer[24];
  std::snprintf(buffer, sizeof(buffer), "+0x%llx", static_cast<unsigned long long>(value));
  return buffer;
}

struct Place {
  std::string file;  // without its directory; empty: in none
  Symbol symbol;     // without a name: the offset in the file, or the address
};

// `back`: how far before `address` the instruction is that is meant.
Place Locate(uint64_t address, uint64_t back) {
  dl_find_object file{};
  // Not dladdr(3): it waits for whoever loads a file, and a plugin's initialisers may take forever.
  if (_dl_find_object(reinterpret_cast<void*>(address - back), &file) != 0) {
    return {"", {"", address}};
  }
  const char* const name = file.dlfo_link_map->l_name;
  const bool is_program = name == nullptr || *name == '\0';
  std::string_view shown(is_program ? program_invocation_short_name : name);
  shown.remove_prefix(shown.rfind('/') + 1);
  const uint64_t relative = address - file.dlfo_link_map->l_addr;
  Symbol symbol = FindInFile(is_program ? "/proc/self/exe" : name, relative - back);
  symbol.offset += back;
  if (symbol.name.empty()) symbol.offset = relative;
  return {SafeText(std::string(shown), kMaxSafeName), std::move(symbol)};
}

// "prices.so+0x1234", or an address alone.
std::string Nameless(const Place& place) {
  const std::string offset = Hex(place.symbol.offset);
  return place.file.empty() ? offset.substr(1) : place.file + offset;
}

}  // namespace

std::string SymbolName(uint64_t address, bool exact) {
  const Place place = Locate(address, exact ? 0 : 1);
  if (place.symbol.name.empty()) return Nameless(place);
  return Demangle(place.symbol.name) + Hex(place.symbol.offset) + " in " + place.file;
}

std::string FunctionName(void* function) {
  const Place place = Locate(reinterpret_cast<uint64_t>(function), 0);
  if (place.symbol.name.empty()) return Nameless(place);
  return Demangle(place.symbol.name) + " in " + place.file;
}

std::vector<std::string> SymbolNames::Of(const std::vector<uint64_t>& frames) {
  std::vector<std::string> names;
  for (const uint64_t frame : frames) {
    const bool exact = names.empty();
    auto& name = known_[{frame, exact}];
    if (name.empty()) name = SymbolName(frame, exact);
    names.push_back(name);
  }
  return names;
}

}  // namespace lastcall
