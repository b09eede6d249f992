#include "words.h"

#include <array>
#include <string_view>

#include "lastcall/v1/word.pb.h"

namespace lastcall {

std::string WordOf(const google::protobuf::EnumDescriptor& type, int value) {
  const auto* known = type.FindValueByNumber(value);
  return known == nullptr ? std::to_string(value) : known->options().GetExtension(v1::word);
}

std::string CodeWord(int code) {
  constexpr std::array<std::string_view, 17> kWords{"OK",
                                                    "CANCELLED",
                                                    "UNKNOWN",
                                                    "INVALID_ARGUMENT",
                                                    "DEADLINE_EXCEEDED",
                                                    "NOT_FOUND",
                                                    "ALREADY_EXISTS",
                                                    "PERMISSION_DENIED",
                                                    "RESOURCE_EXHAUSTED",
                                                    "FAILED_PRECONDITION",
                                                    "ABORTED",
                                                    "OUT_OF_RANGE",
                                                    "UNIMPLEMENTED",
                                                    "INTERNAL",
                                                    "UNAVAILABLE",
                                                    "DATA_LOSS",
                                                    "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < kWords.size() ? std::string(kWords[index]) : std::to_string(code);
}

}  // namespace lastcall
