#include "lastcall/plugin/descriptor_names.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cstdint>

namespace lastcall {
namespace {

using google::protobuf::internal::WireFormatLite;

constexpr size_t kMaxNames = 20'000;
constexpr size_t kMaxNameLength = 1024;

// Field numbers of google/protobuf/descriptor.proto.
enum : int {
  kSetFile = 1,
  kFileName = 1,
  kFilePackage = 2,
  kFileDependency = 3,
  kFileMessage = 4,
  kFileEnum = 5,
  kFileService = 6,
  kFileExtension = 7,
  kAnyName = 1,  // of a message, enum, service or extension
};

// Hands each length-delimited field of `message` to `take(number, bytes)`, which says whether to go
// on. False: it said no, or this is not a message.
template <class Take>
bool ForEachField(std::string_view message, Take take) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()),
                                            static_cast<int>(message.size()));
  while (const uint32_t tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) return false;
      continue;
    }
    uint32_t size = 0;
    if (!in.ReadVarint32(&size)) return false;
    const auto begin = static_cast<size_t>(in.CurrentPosition());
    if (!in.Skip(static_cast<int>(size))) return false;  // also when it goes beyond the end
    if (!take(WireFormatLite::GetTagFieldNumber(tag), message.substr(begin, size))) return false;
  }
  return in.ConsumedEntireMessage();
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

class NameCollector {
 public:
  bool TakeFile(std::string_view file) {
    const size_t files_before = names_.files.size();
    std::string_view package;
    std::vector<std::string_view> services, others;
    const bool read = ForEachField(file, [&](int field, std::string_view bytes) {
      switch (field) {
        case kFileName: return Keep(bytes, &names_.files);
        case kFilePackage: package = bytes; return bytes.empty() || IsName(bytes);
        case kFileDependency: return Keep(bytes, &names_.needed_files);
        case kFileService: return Name(bytes, &services);
        case kFileMessage:
        case kFileEnum:
        case kFileExtension: return Name(bytes, &others);
        default: return true;
      }
    });
    if (!read || names_.files.size() != files_before + 1) return false;
    const std::string prefix = package.empty() ? "" : std::string(package) + ".";
    for (const std::string_view name : services) {
      names_.services.push_back(prefix + std::string(name));
      names_.symbols.push_back(names_.services.back());
    }
    for (const std::string_view name : others) names_.symbols.push_back(prefix + std::string(name));
    return true;
  }

  DescriptorNames Finish() {
    std::vector<std::string>& needed = names_.needed_files;
    std::sort(needed.begin(), needed.end());
    needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
    std::vector<std::string> brought = names_.files;
    std::sort(brought.begin(), brought.end());
    std::erase_if(needed, [&](const std::string& file) {
      return file.starts_with("google/protobuf/") ||
             std::binary_search(brought.begin(), brought.end(), file);
    });
    return std::move(names_);
  }

 private:
  bool Keep(std::string_view name, std::vector<std::string>* list) {
    if (!IsName(name) || ++count_ > kMaxNames) return false;
    list->emplace_back(name);
    return true;
  }

  bool Name(std::string_view definition, std::vector<std::string_view>* list) {
    std::string_view name;
    const bool read = ForEachField(definition, [&](int field, std::string_view bytes) {
      if (field == kAnyName) name = bytes;
      return true;
    });
    if (!read || !IsName(name) || ++count_ > kMaxNames) return false;
    list->push_back(name);
    return true;
  }

  DescriptorNames names_;
  size_t count_ = 0;
};

}  // namespace

std::optional<DescriptorNames> ReadDescriptorNames(std::string_view descriptor_set) {
  if (descriptor_set.size() > INT32_MAX) return std::nullopt;
  NameCollector collector;
  const bool read = ForEachField(descriptor_set, [&](int field, std::string_view bytes) {
    return field != kSetFile || collector.TakeFile(bytes);
  });
  if (!read) return std::nullopt;
  return collector.Finish();
}

}  // namespace lastcall
