#include "lastcall/base/trust_text.h"

#include <grp.h>
#include <pwd.h>

#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include "lastcall/base/safe_text.h"

namespace lastcall {

namespace {

// The shell's way to write any bytes, which has the escapes of SafeText.
std::string EscapedArgument(const std::string& path) {
  std::string escaped;
  for (const char c : path) {
    if (c == '\'' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return "$'" + SafeText(std::move(escaped)) + "'";
}

}  // namespace

std::string OwnerText(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  const std::string number = "uid " + std::to_string(uid);
  return found == nullptr ? number : SafeText(found->pw_name, kMaxSafeName) + " (" + number + ")";
}

std::string GroupName(gid_t gid) {
  std::array<char, 4096> buffer;
  group entry{};
  group* found = nullptr;
  getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found);
  return found == nullptr ? std::to_string(gid) : SafeText(found->gr_name, kMaxSafeName);
}

std::string ModeText(mode_t mode) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), "mode %04o", static_cast<unsigned>(mode & 07777));
  return text.data();
}

std::string ShellArgument(const std::string& path) {
  if (!IsSafeText(path)) return EscapedArgument(path);
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+:@%";
  if (path.find_first_not_of(kPlain) == path.npos) return path;
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace lastcall
