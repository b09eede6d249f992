#include "words.h"

#include "lastcall/v1/word.pb.h"

namespace lastcall {

std::string WordOf(const google::protobuf::EnumDescriptor& type, int value) {
  const auto* known = type.FindValueByNumber(value);
  return known == nullptr ? std::to_string(value) : known->options().GetExtension(v1::word);
}

}  // namespace lastcall
