// An input as a sequence of packets for a control channel, which they go through.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace lastcall {

// Three bytes in front of each: what to do with it, and its size.
class Packets {
 public:
  Packets(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  struct Packet {
    uint8_t what;
    std::string_view bytes;
  };
  bool Next(Packet& packet) {
    if (rest_.size() < 3) return false;
    packet.what = static_cast<uint8_t>(rest_[0]);
    const size_t size = static_cast<uint8_t>(rest_[1]) << 8 | static_cast<uint8_t>(rest_[2]);
    packet.bytes = rest_.substr(3, size);
    rest_.remove_prefix(std::min(rest_.size(), 3 + size));
    return true;
  }

 private:
  std::string_view rest_;
};

}  // namespace lastcall
