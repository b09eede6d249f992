// The words of enumerations: a message has a number; people and scripts read "serving".
#pragma once

#include <google/protobuf/generated_enum_reflection.h>

#include <string>

namespace lastcall {

// Empty: it was not said. Of what this build does not know, from a later daemon: its number.
std::string WordOf(const google::protobuf::EnumDescriptor& type, int value);

template <class Enum>
std::string Word(Enum value) {
  return WordOf(*google::protobuf::GetEnumDescriptor<Enum>(), value);
}

// gRPC's name of a status code, "CANCELLED"; of what it does not have, the number.
std::string CodeWord(int code);

}  // namespace lastcall
