#include "daemon/config/files.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include <lastcall/base/regular_file.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/base/trust.h>

#include "daemon/config/depth.h"
#include "daemon/config/problems.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;

// Of the main file and its drop-ins together: some twenty thousand servers.
constexpr size_t kMostText = 4 << 20;
constexpr size_t kMostDropIns = 1000;

// `whole` is of a file that cannot be had: "PATH: why". Without the path, which has its place.
std::string Explain(const Error& error, const std::string& path, const std::string& remedy) {
  const std::string prefix = SafeText(path) + ": ";
  const bool named = error.message.starts_with(prefix);
  return error.message.substr(named ? prefix.size() : 0) + "; " + remedy;
}

std::string Explain(const Distrust& distrust, const std::string& path, const std::string& missing,
                    const std::string& remedy) {
  if (!distrust.flaws.empty()) return "is not trusted: " + Describe(distrust.flaws);
  return Explain(distrust.error, path, distrust.error.code == Code::kNotFound ? missing : remedy);
}

// Empty when there was a problem.
toml::table ParseText(const std::string& text, const std::string& file, Problems& problems) {
  if (const auto deep = FindTooDeep(text)) {
    problems.Add({file, deep->line, deep->column}, deep->what);
    return {};
  }
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

// The files of one configuration, read one after another.
class FileReader {
 public:
  explicit FileReader(Problems& problems) : problems_(problems) {}

  // Of the file at `path`, whose absence has a remedy of its own; `file`: its name in messages. Empty
  // when there was a problem.
  toml::table Read(const std::string& path, const std::string& file, const std::string& missing) {
    const auto found = trust_.Find(path);
    if (!found) return Refuse(file, Explain(found.error(), path, missing, kRemedy));
    const auto fd = found->Open();
    if (!fd) return Refuse(file, Explain(fd.error(), found->path(), kRemedy));
    return Parse(fd->get(), file);
  }
  toml::table Parse(int fd, const std::string& file) {
    const auto text = ReadUpTo(left_, fd, file);
    if (!text && text.error().code == Code::kOutOfRange) {
      const bool first = left_ == kMostText;
      return Refuse(file, "is larger than " + FormatSize(kMostText) +
                              (first ? "" : ", together with the files before it") +
                              "; no configuration needs so much");
    }
    if (!text) return Refuse(file, Explain(text.error(), file, kRemedy));
    left_ -= text->size();
    return ParseText(*text, file, problems_);
  }

 private:
  static constexpr char kRemedy[] = "make it a file that the daemon's user may read";

  toml::table Refuse(const std::string& file, std::string why) {
    problems_.Add({file}, std::move(why));
    return {};
  }

  Problems& problems_;
  const Trust trust_ = Trust::OfThisProcess();
  size_t left_ = kMostText;
};

const dev_t kNull = makedev(1, 3);  // /dev/null

// A link to /dev/null is how a drop-in that somebody else installs is left out, as with systemd's.
bool IsMasked(const fs::path& file) {
  struct stat status {};
  return stat(file.c_str(), &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == kNull;
}

// The paths, in lexical order; hidden files are left out, as in the shell's *.toml.
tl::expected<std::vector<std::string>, ConfigProblem> FindDropIns(const fs::path& file) {
  constexpr char kRemedy[] = "make it a directory that the daemon's user may read, or remove it";
  const fs::path directory = file.parent_path() / (file.stem().string() + ".d");
  const auto trusted = Trust::OfThisProcess().FindDirectory(directory);
  if (!trusted) {
    if (trusted.error().error.code == Code::kNotFound) return std::vector<std::string>();
    return tl::unexpected(
        ConfigProblem{{directory}, Explain(trusted.error(), directory, kRemedy, kRemedy)});
  }
  std::vector<std::string> found;
  std::error_code error;
  fs::directory_iterator each("/proc/self/fd/" + std::to_string(trusted->fd()), error);
  for (; !error && each != fs::directory_iterator(); each.increment(error)) {
    const fs::path name = each->path().filename();
    const bool hidden = name.string().starts_with('.');
    if (hidden || name.extension() != ".toml" || IsMasked(each->path())) continue;
    found.push_back(directory / name);
    if (found.size() > kMostDropIns) {
      return tl::unexpected(ConfigProblem{
          {directory}, "has more than " + std::to_string(kMostDropIns) + " drop-ins; join some"});
    }
  }
  if (error) {
    return tl::unexpected(
        ConfigProblem{{directory}, "cannot be read: " + ErrnoText(error.value()) + "; " + kRemedy});
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

std::optional<int> PipeNamed(const std::string& path) {
  int fd = -1;
  if (path == "/dev/stdin") fd = STDIN_FILENO;
  for (const std::string_view directory : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(directory)) continue;
    const char* const end = path.data() + path.size();
    const auto [rest, error] = std::from_chars(path.data() + directory.size(), end, fd);
    if (error != std::errc() || rest != end) return std::nullopt;
  }
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) return std::nullopt;
  const bool null = S_ISCHR(status.st_mode) && status.st_rdev == kNull;
  const bool pipe = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode);
  return pipe && !null ? std::optional(fd) : std::nullopt;
}

Checked<ConfigFiles> ReadConfigFiles(const std::string& file) {
  std::error_code error;
  const fs::path path = fs::absolute(file, error).lexically_normal();
  std::vector<std::string> paths{path};
  const auto drop_ins = FindDropIns(path);
  if (drop_ins) paths.insert(paths.end(), drop_ins->begin(), drop_ins->end());
  ConfigFiles read{.root = {}, .files = {}, .directory = path.parent_path()};
  // Whoever may put a file there may not write messages, nor end the processes that are told of it.
  for (const std::string& each : paths) read.files.push_back(SafeText(each));
  Problems problems(read.files);
  if (!drop_ins) problems.Add(drop_ins.error().location, drop_ins.error().message);
  // Other paths begin with that of its directory.
  if (!IsSafeText(paths.front())) {
    problems.Add({read.files.front()},
                 "its path has a character that is not valid text; rename the directory "
                 "or the file");
  }
  FileReader reader(problems);
  for (size_t i = 0; i < paths.size(); ++i) {
    Merge(reader.Read(paths[i], read.files[i],
                      i == 0 ? "name another file with --config, or run plugins without a file "
                               "with --plugin"
                             : "it is a link to nothing: remove it, or restore what it leads to"),
          read.root);
  }
  if (!problems.empty()) return tl::unexpected(problems.Sorted());
  return read;
}

Checked<ConfigFiles> ReadConfigPipe(int fd, const std::string& name) {
  std::error_code error;
  ConfigFiles read{.root = {}, .files = {name}, .directory = fs::current_path(error), .pipe = true};
  Problems problems(read.files);
  read.root = FileReader(problems).Parse(fd, name);
  if (!problems.empty()) return tl::unexpected(problems.Sorted());
  return read;
}

Checked<ConfigFiles> ParseConfigText(const std::string& text, const std::string& name) {
  ConfigFiles read{.root = {}, .files = {name}, .directory = fs::path(name).parent_path()};
  Problems problems(read.files);
  read.root = ParseText(text, name, problems);
  if (!problems.empty()) return tl::unexpected(problems.Sorted());
  return read;
}

}  // namespace lastcall
