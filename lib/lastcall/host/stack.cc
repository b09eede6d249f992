#include "lastcall/host/stack.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "lastcall/lifecycle/cause.h"
#include "lastcall/threads/symbols.h"
#include "lastcall/threads/thread_stack.h"

namespace lastcall {
namespace {

std::vector<std::string> NamedStackOf(pid_t id, SymbolNames& names) {
  const TakenStack stack = TakeStack(id);
  std::vector<std::string> frames = names.Of(stack.frames);
  if (!stack.why_not.empty()) frames.push_back("(" + stack.why_not + ")");
  return frames;
}

}  // namespace

std::vector<std::string> StackOf(pid_t id) {
  SymbolNames names;
  return NamedStackOf(id, names);
}

std::vector<ThreadStack> AllStacks() {
  std::vector<ThreadStack> stacks;
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), &closedir);
  if (tasks == nullptr) return stacks;
  const pid_t self = gettid();
  SymbolNames names;
  while (const dirent* entry = readdir(tasks.get())) {
    const pid_t id = std::atoi(entry->d_name);
    if (id <= 0 || id == self) continue;
    stacks.push_back({id, CommandOf(id), NamedStackOf(id, names)});
  }
  return stacks;
}

}  // namespace lastcall
