#include "lastcall/rpc/own_threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

#include "lastcall/base/unique_fd.h"

namespace lastcall {
namespace {

// Of CPU; what gRPC does with what it has read takes some microseconds.
constexpr Duration kEnough = std::chrono::milliseconds(5);

// As pthread_getcpuclockid(3) makes it, which takes no number of a thread.
Duration RanFor(pid_t thread) {
  const clockid_t clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3U) | 6U);
  timespec ran{};
  if (clock_gettime(clock, &ran) != 0) return {};
  return std::chrono::seconds(ran.tv_sec) + std::chrono::nanoseconds(ran.tv_nsec);
}

// What follows `key` at the start of a line.
const char* Find(const char* text, const char* key) {
  const char* const found = std::strstr(text, key);
  return found == nullptr ? nullptr : found + std::strlen(key);
}

}  // namespace

void OwnThreads::Begin() {
  rounds_ = 0;
  auto now = Look();
  known_ = now.has_value();
  if (known_) before_ = std::move(*now);
}

bool OwnThreads::Rested() {
  while (known_ && rounds_ < kRounds) {
    auto now = Look();
    known_ = now.has_value();
    if (!known_) break;
    std::erase_if(before_, [&](const auto& one) {
      const auto found = now->find(one.first);
      return found == now->end() || CameToAnEnd(one.second, found->second);
    });
    if (!before_.empty()) return false;
    before_ = std::move(*now);
    ++rounds_;
  }
  return known_;
}

bool OwnThreads::CameToAnEnd(const Thread& before, const Thread& now) {
  return now.sleeps || now.slept != before.slept || now.ran - before.ran >= kEnough;
}

// A thread that was woken does not sleep, though it may not have run yet. One that waits for a disk
// or for memory has something in hand.
std::optional<OwnThreads::Threads> OwnThreads::Look() {
  DIR* const directory = opendir("/proc/self/task");
  if (directory == nullptr) return {};
  std::optional<Threads> threads(std::in_place);
  while (const dirent* const entry = readdir(directory)) {
    const pid_t thread = std::atoi(entry->d_name);
    if (thread == 0 || thread == gettid()) continue;
    const std::string name = std::string(entry->d_name) + "/status";
    const UniqueFd file(openat(dirfd(directory), name.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> text{};
    const bool ended = file ? read(file.get(), text.data(), text.size() - 1) <= 0 : errno == ENOENT;
    if (ended) continue;
    const char* const state = Find(text.data(), "\nState:\t");
    const char* const slept = Find(text.data(), "\nvoluntary_ctxt_switches:\t");
    if (state == nullptr || slept == nullptr) {
      threads.reset();
      break;
    }
    (*threads)[thread] = {*state == 'S' || *state == 'Z' || *state == 'X',
                          std::strtoull(slept, nullptr, 10), RanFor(thread)};
  }
  closedir(directory);
  return threads;
}

}  // namespace lastcall
