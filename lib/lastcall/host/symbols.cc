#include "lastcall/host/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>

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
    const char* name = elf_strptr(elf, header.sh_link, symbol.st_name);
    return {name != nullptr ? name : "", address - symbol.st_value};
  }
  return {};
}

Symbol FindInFile(const char* file, uint64_t address) {
  const UniqueFd fd(open(file, O_RDONLY | O_CLOEXEC));
  if (!fd || elf_version(EV_CURRENT) == EV_NONE) return {};
  const std::unique_ptr<Elf, int (*)(Elf*)> elf(elf_begin(fd.get(), ELF_C_READ_MMAP, nullptr),
                                                &elf_end);
  Elf_Scn* section = nullptr;
  while (elf != nullptr && (section = elf_nextscn(elf.get(), section)) != nullptr) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr || header.sh_type != SHT_SYMTAB) continue;
    return FindIn(elf.get(), section, header, address);
  }
  return {};
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
Place Locate(void* address, uint64_t back) {
  const auto number = reinterpret_cast<uint64_t>(address);
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return {"", {"", number}};
  std::string_view file(info.dli_fname);
  file.remove_prefix(file.rfind('/') + 1);
  const uint64_t relative = number - reinterpret_cast<uint64_t>(info.dli_fbase);
  Symbol symbol;
  if (info.dli_sname != nullptr) {
    symbol = {info.dli_sname, number - reinterpret_cast<uint64_t>(info.dli_saddr)};
  } else {
    symbol = FindInFile(info.dli_fname, relative - back);
    symbol.offset += back;
  }
  if (symbol.name.empty()) symbol.offset = relative;
  return {SafeText(std::string(file), kMaxSafeName), std::move(symbol)};
}

// "prices.so+0x1234", or an address alone.
std::string Nameless(const Place& place) {
  const std::string offset = Hex(place.symbol.offset);
  return place.file.empty() ? offset.substr(1) : place.file + offset;
}

}  // namespace

std::string SymbolName(void* address) {
  // A return address points behind the call, which may be the end of the function.
  const Place place = Locate(address, 1);
  if (place.symbol.name.empty()) return Nameless(place);
  return Demangle(place.symbol.name) + Hex(place.symbol.offset) + " in " + place.file;
}

std::string FunctionName(void* function) {
  const Place place = Locate(function, 0);
  if (place.symbol.name.empty()) return Nameless(place);
  return Demangle(place.symbol.name) + " in " + place.file;
}

}  // namespace lastcall
