#include "daemon/config_files.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <lastcall/base/safe_text.h>
#include <lastcall/base/trust.h>
#include <lastcall/base/unique_fd.h>

#include "daemon/config_problems.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;

// The content, or errno.
tl::expected<std::string, int> ReadAll(const UniqueFd& fd) {
  if (!fd) return tl::unexpected(errno);
  std::string text;
  std::array<char, 16384> buffer;
  while (true) {
    const ssize_t size = read(fd.get(), buffer.data(), buffer.size());
    if (size > 0) text.append(buffer.data(), size);
    if (size == 0) return text;
    if (size < 0 && errno != EINTR) return tl::unexpected(errno);
  }
}

// What is wrong with a file that cannot be had.
std::string Explain(const Distrust& distrust, const std::string& remedy) {
  if (!distrust.flaws.empty()) return "is not trusted: " + Describe(distrust.flaws);
  const bool missing = distrust.error.code == Code::kNotFound;
  const std::string& whole = distrust.error.message;  // "PATH: cannot be read: …"
  return whole.substr(whole.find(": cannot be read") + 2) + "; " +
         (missing ? "name another file with --config, or run plugins without a file with --plugin"
                  : remedy);
}

// Empty when there was a problem.
toml::table ParseText(const std::string& text, const std::string& file, Problems& problems) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    constexpr std::string_view kPreface = "Error while parsing ";
    const toml::source_position& at = error.source().begin;
    std::string_view why = error.description();
    if (why.starts_with(kPreface)) why.remove_prefix(kPreface.size());
    problems.Add({file, at.line, at.column},
                 "not valid TOML: " + std::string(why) +
                     "; texts need quotes; all of the syntax is at https://toml.io");
    return {};
  }
}

// `name`: of the file, for messages.
toml::table ParseFile(const std::string& path, const std::string& name, Problems& problems) {
  constexpr char kRemedy[] = "make it a file that the daemon's user may read";
  const auto found = Trust(geteuid()).Find(path);
  if (!found) {
    problems.Add({name}, Explain(found.error(), kRemedy));
    return {};
  }
  const auto text = ReadAll(found->Open());
  if (!text) {
    problems.Add({name}, "cannot be read: " + ErrnoText(text.error()) + "; " + kRemedy);
    return {};
  }
  return ParseText(*text, name, problems);
}

// The paths, in lexical order; hidden files are left out, as in the shell's *.toml.
tl::expected<std::vector<std::string>, ConfigProblem> FindDropIns(const fs::path& file) {
  const fs::path folder = file.parent_path() / (file.stem().string() + ".d");
  const auto trusted = Trust(geteuid()).FindFolder(folder);
  if (!trusted) {
    if (trusted.error().error.code == Code::kNotFound) return std::vector<std::string>();
    return tl::unexpected(ConfigProblem{
        {folder}, Explain(trusted.error(), "make it a folder that the daemon's user may read, or "
                                           "remove it")});
  }
  std::vector<std::string> found;
  std::error_code error;
  fs::directory_iterator each("/proc/self/fd/" + std::to_string(trusted->fd()), error);
  for (; !error && each != fs::directory_iterator(); each.increment(error)) {
    const fs::path name = each->path().filename();
    const bool hidden = name.string().starts_with('.');
    if (!hidden && name.extension() == ".toml") found.push_back(folder / name);
  }
  if (error) {
    return tl::unexpected(
        ConfigProblem{{folder},
                      "cannot be read: " + ErrnoText(error.value()) +
                          "; make it a folder that the daemon's user may read, or remove it"});
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Moved, never copied: toml++ drops the source of a copy.
void Merge(toml::table&& from, toml::table& into) {
  for (auto&& [key, value] : from) {
    toml::table* old_table = into[key.str()].as_table();
    if (value.is_table() && old_table != nullptr) {
      Merge(std::move(*value.as_table()), *old_table);
      continue;
    }
    into.erase(key.str());  // together with the old key's place
    value.visit([&into, &key = key](auto& node) { into.insert(key, std::move(node)); });
  }
}

}  // namespace

Checked<ConfigFiles> ReadConfigFiles(const std::string& file) {
  std::error_code error;
  const fs::path path = fs::absolute(file, error).lexically_normal();
  std::vector<std::string> paths{path};
  const auto drop_ins = FindDropIns(path);
  if (drop_ins) paths.insert(paths.end(), drop_ins->begin(), drop_ins->end());
  ConfigFiles read;
  // Whoever may put a file there may not write messages, nor end the processes that are told of it.
  for (const std::string& each : paths) read.files.push_back(SafeText(each));
  Problems problems(read.files);
  if (!drop_ins) problems.Add(drop_ins.error().place, drop_ins.error().message);
  // Other paths begin with that of its folder.
  if (!IsSafeText(paths.front())) {
    problems.Add({read.files.front()},
                 "its path has a character that is no text; rename the folder "
                 "or the file");
  }
  for (size_t i = 0; i < paths.size(); ++i) {
    Merge(ParseFile(paths[i], read.files[i], problems), read.root);
  }
  if (!problems.empty()) return tl::unexpected(problems.Sorted());
  return read;
}

Checked<ConfigFiles> ParseConfigText(const std::string& text, const std::string& name) {
  ConfigFiles read{.root = {}, .files = {name}};
  Problems problems(read.files);
  read.root = ParseText(text, name, problems);
  if (!problems.empty()) return tl::unexpected(problems.Sorted());
  return read;
}

}  // namespace lastcall
