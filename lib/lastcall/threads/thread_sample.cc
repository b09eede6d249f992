#include "lastcall/threads/thread_sample.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <vector>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/unique_fd.h"

namespace lastcall {
namespace {

// More than any of these files has.
constexpr size_t kMostOfFile = 8192;

// The words of a line, at most so many.
std::vector<std::string_view> Words(std::string_view text, size_t most) {
  constexpr std::string_view kSpace = " \t\n";
  std::vector<std::string_view> words;
  for (size_t at = text.find_first_not_of(kSpace);
       at != std::string_view::npos && words.size() < most;) {
    const size_t end = std::min(text.find_first_of(kSpace, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kSpace, end);
  }
  return words;
}

template <class T>
bool ParseNumber(std::string_view word, T& number, int base = 10) {
  if (base == 16 && word.starts_with("0x")) word.remove_prefix(2);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number, base);
  return error == std::errc() && end == word.data() + word.size();
}

KernelPlace Unknown(std::string why) {
  KernelPlace place;
  place.why = std::move(why);
  return place;
}

std::string ParseSleepsAt(std::string_view text) {
  const auto words = Words(text, 1);
  // "0": it is awake, or the kernel does not say.
  return words.empty() || words[0] == "0" ? "" : SafeText(std::string(words[0]), kMaxSafeName);
}

}  // namespace

ThreadFile ReadThreadFile(pid_t thread, std::string_view name) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/" + std::string(name);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, kMostOfFile> text;
  const ssize_t size = file ? read(file.get(), text.data(), text.size()) : -1;
  if (size >= 0) return {std::string(text.data(), static_cast<size_t>(size)), "", false};
  const int error = errno;
  // A file that this kernel does not have is not there for the threads that live either.
  const bool gone = error == ESRCH || (error == ENOENT && !CpuTimeOf(thread));
  return {"", path + ": " + std::strerror(error), gone};
}

KernelPlace ParseKernelPlace(std::string_view text) {
  const auto words = Words(text, 9);
  if (words.empty()) return Unknown("the kernel says nothing of it");
  KernelPlace place;
  if (words[0] == "running") {
    place.kind = KernelPlace::Kind::kAwake;
    return place;
  }
  const bool call = words.size() == 9, no_call = words.size() == 3 && words[0] == "-1";
  bool sound = (call || no_call) && ParseNumber(words[0], place.number) &&
               ParseNumber(words[words.size() - 2], place.stack_pointer, 16) &&
               ParseNumber(words[words.size() - 1], place.instruction, 16);
  for (size_t i = 0; sound && call && i < place.arguments.size(); ++i) {
    sound = ParseNumber(words[i + 1], place.arguments[i], 16);
  }
  if (!sound) return Unknown("not understood: " + SafeText(std::string(text), kMaxSafeName));
  place.kind = call && place.number >= 0 ? KernelPlace::Kind::kCall : KernelPlace::Kind::kNoCall;
  return place;
}

std::optional<Turns> ParseTurns(std::string_view text) {
  const auto words = Words(text, 3);
  int64_t ran = 0, waited = 0;
  Turns turns;
  if (words.size() != 3 || !ParseNumber(words[0], ran) || !ParseNumber(words[1], waited) ||
      !ParseNumber(words[2], turns.count)) {
    return {};
  }
  // A kernel that does not count has zeros for a thread that has run.
  if (waited < 0 || (ran == 0 && waited == 0 && turns.count == 0)) return {};
  turns.waited = Duration(waited);
  return turns;
}

char ParseState(std::string_view text) {
  // A thread's name may hold anything, brackets and line breaks too.
  const size_t name_end = text.rfind(") ");
  if (name_end == std::string_view::npos || name_end + 2 >= text.size()) return '?';
  const char state = text[name_end + 2];
  return (state >= 'A' && state <= 'Z') || state == 't' ? state : '?';
}

std::optional<Duration> CpuTimeOf(pid_t thread) {
  // As pthread_getcpuclockid(3) makes it, which takes no number of a thread.
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3U) | 6U);
  timespec ran{};
  if (thread <= 0 || clock_gettime(clock, &ran) != 0) return {};
  return std::chrono::seconds(ran.tv_sec) + std::chrono::nanoseconds(ran.tv_nsec);
}

ThreadSample Look(pid_t thread) {
  ThreadSample sample;
  sample.thread = thread;
  sample.at = std::chrono::steady_clock::now();
  sample.ran = CpuTimeOf(thread);
  const ThreadFile place = ReadThreadFile(thread, "syscall");
  sample.gone = place.gone || !sample.ran;
  if (sample.gone) {
    sample.place = Unknown("the thread has ended");
    return sample;
  }
  sample.place = place.why.empty() ? ParseKernelPlace(place.text) : Unknown(place.why);
  sample.turns = ParseTurns(ReadThreadFile(thread, "schedstat").text);
  sample.state = ParseState(ReadThreadFile(thread, "stat").text);
  if (sample.place.kind != KernelPlace::Kind::kAwake) {
    sample.sleeps_at = ParseSleepsAt(ReadThreadFile(thread, "wchan").text);
  }
  return sample;
}

}  // namespace lastcall
