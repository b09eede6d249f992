// Reads numbers from bytes that may be wrong: beyond the end there are zeros, and ok() says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lastcall {

class ByteCursor {
 public:
  explicit ByteCursor(std::span<const uint8_t> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return rest_.empty(); }
  std::span<const uint8_t> rest() const { return rest_; }

  template <class T>
  T Take() {
    T value{};
    const auto bytes = TakeBytes(sizeof(T));
    if (bytes.size() == sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  std::span<const uint8_t> TakeBytes(uint64_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  // DWARF's numbers of any length.
  uint64_t TakeUnsigned() { return TakeLeb(false); }
  int64_t TakeSigned() { return static_cast<int64_t>(TakeLeb(true)); }

 private:
  uint64_t TakeLeb(bool is_signed) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = Take<uint8_t>();
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) != 0) continue;
      if (is_signed && (byte & 0x40) != 0 && shift + 7 < 64) value |= ~0ULL << (shift + 7);
      return value;
    }
  }

  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

}  // namespace lastcall
