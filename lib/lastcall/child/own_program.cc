#include "lastcall/child/own_program.h"

#include <filesystem>
#include <string_view>

namespace lastcall {

std::string OwnProgram() {
  constexpr std::string_view kDeleted = " (deleted)";
  std::error_code error;
  std::string path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

}  // namespace lastcall
