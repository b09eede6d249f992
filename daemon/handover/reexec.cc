#include "daemon/handover/reexec.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include <lastcall/base/regular_file.h>
#include <lastcall/base/trust.h>
#include <lastcall/child/spawn.h>

#include "daemon/setup/fingerprints.h"

namespace lastcall {
namespace {

constexpr char kVariable[] = "LASTCALL_RESUME";
constexpr char kMemfdName[] = "lastcalld-state";
constexpr char kRunning[] = "/proc/self/exe";
constexpr uint32_t kFormat = 1;
constexpr size_t kMostState = size_t{1} << 30;
// Changed when a build that proves itself means something else by it.
constexpr char kWord[] = "lastcalld goes on from this state\n";

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = write(fd, text.data(), text.size());
    if (size < 0 && errno != EINTR) return false;
    if (size > 0) text.remove_prefix(static_cast<size_t>(size));
  }
  return true;
}

bool IsMemfd(int fd) {
  std::error_code error;
  const auto target =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error).string();
  return target.find(kMemfdName) != target.npos;
}

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

tl::unexpected<Error> Refuse(const std::string& why) {
  return Fail(Code::kFailedPrecondition, why);
}

}  // namespace

Result<std::optional<UniqueFd>> OpenAnotherBuild(const std::string& program) {
  // Nothing that others could change is executed, not even to prove itself.
  const auto found = Trust::OfThisProcess().Find(program);
  if (!found) return tl::unexpected(found.error().error);
  auto opened = found->Open();
  if (!opened) return tl::unexpected(opened.error());
  UniqueFd fd = std::move(*opened);
  struct stat there {
  }, running{};
  if (fstat(fd.get(), &there) != 0 || stat(kRunning, &running) != 0) {
    return FailErrno("cannot look at " + program, errno);
  }
  // The kernel lets nobody write to a program that runs.
  if (SameFile(there, running)) return std::nullopt;
  if (DigestOf("/proc/self/fd/" + std::to_string(fd.get())) == DigestOf(kRunning)) {
    return std::nullopt;
  }
  return fd;
}

Result<UniqueFd> Pack(const state::v1::State& state) {
  UniqueFd fd(memfd_create(kMemfdName, MFD_CLOEXEC));
  state::v1::State stamped = state;
  stamped.set_format(kFormat);
  stamped.set_version(LASTCALL_VERSION);
  if (!fd || !WriteAll(fd.get(), stamped.SerializeAsString())) {
    return FailErrno("cannot write down the state", errno);
  }
  return fd;
}

std::string ResumeEntry(int state) { return std::string(kVariable) + "=" + std::to_string(state); }

std::string ProofOf(int state) {
  // Its offset is shared with whoever wrote it, and with those who read it before.
  if (lseek(state, 0, SEEK_SET) != 0) return "";
  const auto text = ReadUpTo(kMostState, state, kMemfdName);
  return text ? DigestOfText(kWord + *text) : "";
}

Stamp StampOf(int file) {
  struct stat status {};
  fstat(file, &status);
  constexpr int64_t kSecond = 1'000'000'000;
  return {status.st_size, status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec};
}

Result<std::optional<Taken>> TakeState() {
  const char* const given = std::getenv(kVariable);
  if (given == nullptr) return std::nullopt;
  const std::string text = given;
  unsetenv(kVariable);
  int number = -1;
  std::from_chars(text.data(), text.data() + text.size(), number);
  if (number < 0 || !IsMemfd(number)) {
    return Refuse(std::string(kVariable) + "=" + text +
                  " is not a state of lastcalld, which sets it for itself: unset it");
  }
  const UniqueFd fd(number);
  Taken taken{.state = {}, .proof = ProofOf(fd.get())};
  state::v1::State& state = taken.state;
  if (lseek(fd.get(), 0, SEEK_SET) != 0 || !state.ParseFromFileDescriptor(fd.get())) {
    return Refuse("the state that lastcalld handed over cannot be read");
  }
  if (state.format() > kFormat) {
    return Refuse("the state was written by lastcalld " + state.version() + " in format " +
                  std::to_string(state.format()) +
                  ", this is " LASTCALL_VERSION ", which reads up to format " +
                  std::to_string(kFormat) + "; restart the daemon instead of reloading it");
  }
  // What came along is not for the children of this one.
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  return taken;
}

Error Execute(int binary, const ProgramImage& image, int state, const std::vector<int>& descriptors,
              const std::vector<std::string>& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  environment.push_back(ResumeEntry(state));
  environment.insert(environment.end(), variables.begin(), variables.end());
  const auto close_on_exec = [&](bool closes) {
    const int flags = closes ? FD_CLOEXEC : 0;
    fcntl(state, F_SETFD, flags);
    for (const int fd : descriptors) fcntl(fd, F_SETFD, flags);
  };
  close_on_exec(false);
  fexecve(binary, Pointers(image.arguments).data(), Pointers(environment).data());
  const int why = errno;
  close_on_exec(true);
  return {Code::kInternal, "cannot execute " + image.program + ": " + ErrnoText(why)};
}

}  // namespace lastcall
