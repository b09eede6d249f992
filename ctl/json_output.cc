#include "json_output.h"

#include <google/protobuf/util/json_util.h>
#include <lastcall/base/json.h>

namespace lastcall {

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  // Fails for google.protobuf.Any alone, which no message of ours holds.
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}";
  return json;
}

std::string WithKind(std::string_view kind, std::string_view object) {
  JsonWriter head;
  head.BeginObject().Key("api_version").String("lastcall/v1").Key("kind").String(kind).EndObject();
  return Splice(head.text(), object);
}

std::string Splice(std::string first, std::string_view second) {
  const size_t field = second.find_first_not_of(" \t\r\n", 1);
  if (field == std::string_view::npos || second[field] == '}') return first;
  first.back() = ',';
  return first.append(second.substr(field));
}

}  // namespace lastcall
