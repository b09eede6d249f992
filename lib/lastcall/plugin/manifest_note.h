// The manifest as it lies in a plugin's file: ELF notes with the owner "Lastcall", which are read
// without loading the plugin (see ReadManifest). lastcall_add_plugin() compiles this into each:
//
//   LASTCALL_MANIFEST("echo")
//   LASTCALL_DESCRIPTORS("/build/echo.protoset")
//
// The linker puts notes into a segment of their own, so that neither strip nor --gc-sections
// removes them.
#pragma once

#include <google/protobuf/stubs/common.h>
#include <grpcpp/version_info.h>
#include <lastcall/plugin/plugin.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#ifndef _GLIBCXX_RELEASE
#error "a Lastcall plugin needs libstdc++, for std::string crosses from the host to the plugin"
#endif

namespace lastcall {

inline constexpr char kNoteOwner[] = "Lastcall";
inline constexpr uint32_t kManifestNote = 1;     // lines of key=value
inline constexpr uint32_t kDescriptorsNote = 2;  // a google.protobuf.FileDescriptorSet

namespace internal {

#ifndef __has_feature
#define LASTCALL_HAS_FEATURE(feature) 0
#else
#define LASTCALL_HAS_FEATURE(feature) __has_feature(feature)
#endif

#if defined(__SANITIZE_ADDRESS__) || LASTCALL_HAS_FEATURE(address_sanitizer)
inline constexpr std::string_view kSanitizer = "address";
#elif defined(__SANITIZE_THREAD__) || LASTCALL_HAS_FEATURE(thread_sanitizer)
inline constexpr std::string_view kSanitizer = "thread";
#else
inline constexpr std::string_view kSanitizer = "none";
#endif

// Built by the compiler, so that nothing has to run in a plugin. std::string cannot do it: with the
// old ABI, one of the mismatches to be found, it is not constexpr.
class NoteText {
 public:
  constexpr NoteText& Line(std::string_view key, std::string_view value) {
    return Add(key).Add("=").Add(value).Add("\n");
  }
  constexpr NoteText& Line(std::string_view key, uint32_t value) {
    return Add(key).Add("=").Add(value).Add("\n");
  }
  constexpr NoteText& Add(std::string_view text) {
    for (const char c : text) bytes_[size_++] = c;  // too long: not a constant, does not compile
    return *this;
  }
  constexpr NoteText& Add(uint32_t number) {
    if (number >= 10) Add(number / 10);
    bytes_[size_++] = static_cast<char>('0' + number % 10);
    return *this;
  }

  constexpr size_t size() const { return size_; }
  constexpr std::string_view view() const { return {bytes_, size_}; }

 private:
  char bytes_[1024] = {};
  size_t size_ = 0;
};

// What the compiler knows of the plugin, or of the host, that it compiles.
consteval NoteText ManifestText(std::string_view name) {
  NoteText text;
  text.Line("abi", kPluginAbi).Line("name", name).Line("compiler", __VERSION__);
  text.Line("libstdcxx", _GLIBCXX_RELEASE).Line("cxx11_abi", _GLIBCXX_USE_CXX11_ABI);
  text.Line("grpc", GRPC_CPP_VERSION_STRING);
  text.Add("protobuf=").Add(GOOGLE_PROTOBUF_VERSION / 1000000).Add(".");
  text.Add(GOOGLE_PROTOBUF_VERSION / 1000 % 1000).Add(".");
  text.Add(GOOGLE_PROTOBUF_VERSION % 1000).Add("\n");
  return text.Line("sanitizer", kSanitizer);
}

// One ELF note, as elf(5) lays it out.
template <size_t kTextSize>
struct TextNote {
  consteval explicit TextNote(std::string_view source) {
    for (size_t i = 0; i < source.size(); ++i) text[i] = source[i];
  }

  uint32_t owner_size = sizeof(kNoteOwner);
  uint32_t text_size = kTextSize;
  uint32_t type = kManifestNote;
  char owner[12] = "Lastcall";
  char text[(kTextSize + 3) / 4 * 4] = {};
};

}  // namespace internal
}  // namespace lastcall

// Embeds the lines of `note_text`, a constexpr NoteText.
#define LASTCALL_MANIFEST_TEXT(note_text)                                                   \
  namespace {                                                                               \
  [[gnu::used, gnu::section(".note.lastcall")]] alignas(4) constexpr ::lastcall::internal:: \
      TextNote<(note_text).size()> kLastcallManifest((note_text).view());                   \
  }

// Embeds the manifest of the plugin `name`.
#define LASTCALL_MANIFEST(name)                                            \
  namespace {                                                              \
  constexpr auto kLastcallText = ::lastcall::internal::ManifestText(name); \
  }                                                                        \
  LASTCALL_MANIFEST_TEXT(kLastcallText)

// Embeds the FileDescriptorSet in the file `path`: 9 is the size of the owner, 2 the type.
#define LASTCALL_DESCRIPTORS(path)                      \
  __asm__(                                              \
      ".pushsection .note.lastcall, \"a\", %note\n"     \
      ".balign 4\n"                                     \
      ".long 9, .Llastcall_end - .Llastcall_begin, 2\n" \
      ".asciz \"Lastcall\"\n"                           \
      ".balign 4\n"                                     \
      ".Llastcall_begin:\n"                             \
      ".incbin \"" path                                 \
      "\"\n"                                            \
      ".Llastcall_end:\n"                               \
      ".balign 4\n"                                     \
      ".popsection\n");
