// The names in a serialized google.protobuf.FileDescriptorSet. Messages are not made: two bytes of
// a hostile one can stand for hundreds in memory.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lastcall {

struct DescriptorNames {
  std::vector<std::string> files;         // "shop/prices.proto", in the order of the set
  std::vector<std::string> needed_files;  // imported and not in the set, but for protobuf's own
  std::vector<std::string> services;      // "shop.Prices"
  std::vector<std::string> symbols;       // services, messages, enums, extensions at top level
};

// Empty: not a FileDescriptorSet, or one with more names than anybody needs, or with names that are
// none (they go into logs).
std::optional<DescriptorNames> ReadDescriptorNames(std::string_view descriptor_set);

}  // namespace lastcall
