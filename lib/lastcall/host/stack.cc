#include "lastcall/host/stack.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "lastcall/lifecycle/cause.h"
#include "lastcall/threads/symbols.h"
#include "lastcall/threads/thread_stack.h"

namespace lastcall {
namespace {

NamedStack Named(TakenStack stack, SymbolNames& names) {
  return {names.Of(stack.frames), std::move(stack.why_not)};
}

}  // namespace

std::vector<std::string> NamedStack::Lines() const {
  std::vector<std::string> lines = frames;
  if (!why_not.empty()) lines.push_back("(" + why_not + ")");
  return lines;
}

NamedStack NamedStackOf(pid_t id) {
  SymbolNames names;
  return Named(TakeStack(id), names);
}

std::vector<std::string> StackOf(pid_t id) { return NamedStackOf(id).Lines(); }

std::vector<ThreadStack> AllStacks() {
  std::vector<ThreadStack> stacks;
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), &closedir);
  if (tasks == nullptr) return stacks;
  const pid_t self = gettid();
  SymbolNames names;
  while (const dirent* entry = readdir(tasks.get())) {
    const pid_t id = std::atoi(entry->d_name);
    if (id <= 0 || id == self) continue;
    stacks.push_back({id, CommandOf(id), Named(TakeStack(id), names).Lines()});
  }
  return stacks;
}

}  // namespace lastcall
