#include "lastcall/threads/frame_table.h"

#include <dlfcn.h>

#include <algorithm>

#include "lastcall/threads/own_memory.h"

namespace lastcall {
namespace {

// Of one entry; the largest functions have some thousands of bytes.
constexpr uint32_t kMostOfEntry = 1 << 16;

struct Header {
  uint8_t version, of_frame, of_count, of_table;
  int32_t frame;
  uint32_t count;
};

// Both relative to the header.
struct TablePlace {
  int32_t function;
  int32_t entry;
};

// How every linker writes the table: what else the standard allows is not worth a word.
bool IsUsual(const Header& header) {
  constexpr uint8_t kToHere32 = 0x1B, kUnsigned32 = 0x03, kToHeader32 = 0x3B;
  return header.version == 1 && header.of_frame == kToHere32 && header.of_count == kUnsigned32 &&
         header.of_table == kToHeader32;
}

// The last function that begins at or before `offset`.
std::optional<TablePlace> FindPlace(OwnPages& pages, uint64_t table, uint32_t count,
                                    int64_t offset) {
  constexpr uint32_t kAtOnce = 64;
  uint32_t low = 0, high = count;  // it is in [low, high)
  while (high - low > kAtOnce) {
    const uint32_t middle = low + (high - low) / 2;
    TablePlace place{};
    if (!pages.Read(table + middle * sizeof(TablePlace), &place, sizeof(place))) return {};
    (place.function <= offset ? low : high) = middle;
  }
  std::array<TablePlace, kAtOnce> places{};
  const uint32_t left = high - low;
  if (left == 0 ||
      !pages.Read(table + low * sizeof(TablePlace), places.data(), left * sizeof(TablePlace))) {
    return {};
  }
  const auto* const after =
      std::upper_bound(places.data(), places.data() + left, offset,
                       [](int64_t wanted, const TablePlace& one) { return wanted < one.function; });
  if (after == places.data()) return {};
  return after[-1];
}

// What is at `at` behind its length, and where that begins.
bool ReadEntry(OwnPages& pages, uint64_t at, std::vector<uint8_t>& bytes) {
  uint32_t size = 0;
  if (!pages.Read(at, &size, sizeof(size)) || size < 8 || size > kMostOfEntry) return false;
  bytes.resize(size);
  return pages.Read(at + sizeof(size), bytes.data(), size);
}

std::optional<FrameEntry> ReadEntries(OwnPages& pages, uint64_t at) {
  FrameEntry entry;
  entry.own_at = at + sizeof(uint32_t);
  if (!ReadEntry(pages, at, entry.own)) return {};
  uint32_t back = 0;
  std::copy_n(entry.own.data(), sizeof(back), reinterpret_cast<uint8_t*>(&back));
  entry.common_at = entry.own_at - back;
  if (back == 0 || !ReadEntry(pages, entry.common_at, entry.common)) return {};
  return entry;
}

bool FindFile(uint64_t instruction, dl_find_object& file) {
  return _dl_find_object(reinterpret_cast<void*>(instruction), &file) == 0;
}

}  // namespace

bool IsInLoadedFile(uint64_t instruction) {
  dl_find_object file{};
  return FindFile(instruction, file);
}

std::optional<FrameRules> RulesAt(uint64_t instruction, OwnPages& pages) {
  dl_find_object file{};
  if (!FindFile(instruction, file) || file.dlfo_eh_frame == nullptr) return {};
  const auto at = reinterpret_cast<uint64_t>(file.dlfo_eh_frame);
  Header header{};
  if (!pages.Read(at, &header, sizeof(header)) || !IsUsual(header)) return {};
  const auto place =
      FindPlace(pages, at + sizeof(header), header.count, static_cast<int64_t>(instruction - at));
  if (!place) return {};
  const auto entry = ReadEntries(pages, at + static_cast<uint64_t>(int64_t{place->entry}));
  return entry ? RulesIn(*entry, instruction) : std::nullopt;
}

}  // namespace lastcall
