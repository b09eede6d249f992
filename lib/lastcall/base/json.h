// Writes JSON text; a receipt must not need a library. Keys keep their order.
//
//   JsonWriter json;
//   json.BeginObject().Key("stage").String("grace").Key("took_s").Number(1.5).EndObject();
//   json.text();  // {"stage":"grace","took_s":1.5}
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lastcall {

// Order: calls must nest properly; every value inside an object follows its Key.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key);
  // Bytes that are not UTF-8 become U+FFFD, so that the text is always valid; what steers terminals
  // is escaped (safe_text.h), so that it can be shown.
  JsonWriter& String(std::string_view value);
  JsonWriter& Integer(int64_t value);
  // Rounded to microseconds when it stands for seconds: six decimals, no trailing zeros. What JSON
  // cannot write (infinity, NaN) becomes null.
  JsonWriter& Number(double value);
  JsonWriter& Boolean(bool value);
  JsonWriter& Null();
  // Text that is JSON already.
  JsonWriter& Raw(std::string_view json);

  const std::string& text() const { return text_; }

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Separate();

  std::string text_;
  bool needs_comma_ = false;
};

}  // namespace lastcall
