#include <lastcall/plugin/manifest_note.h>

namespace {
constexpr auto kText = [] {
  lastcall::internal::NoteText text;
  text.Line("abi", 99).Line("name", "mismatched").Line("compiler", "99.1.0");
  text.Line("libstdcxx", 99).Line("cxx11_abi", 0);
  text.Line("grpc", "9.9.9").Line("protobuf", "9.99.99");
  return text.Line("sanitizer", "memory");
}();
}  // namespace
LASTCALL_MANIFEST_TEXT(kText)
