#include "json_output.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>
#include <lastcall/base/json.h>

#include "lastcall/admin/v1/admin.pb.h"
#include "words.h"

namespace lastcall {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using Without = std::set<std::string_view>;

// A number to protobuf.
bool IsStatusCode(const FieldDescriptor& field) {
  using admin::v1::FinishedCall;
  return field.containing_type() == FinishedCall::descriptor() &&
         field.number() == FinishedCall::kStatusFieldNumber;
}

// Copies the JSON that protobuf has written of a message, with words where it has the names of
// enumerations' values: "serving" for "STAGE_SERVING".
class InWords {
 public:
  explicit InWords(std::string_view json) : json_(json) {}

  std::string Message(const Descriptor& type, const Without& without) {
    Object(type, without);
    return std::move(out_);
  }

 private:
  void Object(const Descriptor& type, const Without& without = {}) {
    out_ += json_[at_++];  // {
    while (json_[at_] != '}') {
      const size_t before = out_.size();
      const std::string_view key = Token();
      const std::string name(key.substr(1, key.size() - 2));
      const FieldDescriptor* field = type.FindFieldByName(name);
      out_.append(key) += json_[at_++];  // :
      field->is_repeated() ? List(*field) : Value(*field);
      if (json_[at_] == ',') out_ += json_[at_++];
      if (without.contains(name)) out_.resize(before);
    }
    if (out_.back() == ',') out_.pop_back();  // of what came before the last one
    out_ += json_[at_++];
  }

  void List(const FieldDescriptor& field) {
    out_ += json_[at_++];  // [
    while (json_[at_] != ']') {
      Value(field);
      if (json_[at_] == ',') out_ += json_[at_++];
    }
    out_ += json_[at_++];
  }

  void Value(const FieldDescriptor& field) {
    if (field.message_type() != nullptr) return Object(*field.message_type());
    const std::string_view token = Token();
    if (IsStatusCode(field)) {
      out_ += JsonWriter().String(CodeWord(std::stoi(std::string(token)))).text();
    } else if (field.enum_type() == nullptr) {
      out_ += token;
    } else if (token.starts_with('"')) {
      const std::string name(token.substr(1, token.size() - 2));
      const int value = field.enum_type()->FindValueByName(name)->number();
      out_ += JsonWriter().String(WordOf(*field.enum_type(), value)).text();
    } else {
      // Of a value without a name protobuf writes the number.
      out_.append("\"").append(token) += '"';
    }
  }

  // A string with its quotes, a number, true or false.
  std::string_view Token() {
    const size_t begin = at_;
    if (json_[at_] == '"') {
      for (++at_; json_[at_] != '"'; ++at_) at_ += json_[at_] == '\\' ? 1 : 0;
      ++at_;
    } else {
      at_ = json_.find_first_of(",]}", at_);
    }
    return json_.substr(begin, at_ - begin);
  }

  std::string_view json_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string ToJson(const google::protobuf::Message& message, const Without& without) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  // Fails for google.protobuf.Any alone, which no message of ours holds.
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}";
  return InWords(json).Message(*message.GetDescriptor(), without);
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
