#include "lastcall/lifecycle/cause.h"

#include <fstream>
#include <utility>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/signal_name.h"

namespace lastcall {

std::string_view Name(Cause::Kind kind) {
  switch (kind) {
    case Cause::Kind::kSignal: return "signal";
    case Cause::Kind::kAdmin: return "admin";
    case Cause::Kind::kPlugin: return "plugin";
    case Cause::Kind::kProgram: return "program";
    case Cause::Kind::kProcess: return "process";
    case Cause::Kind::kSupervisor: return "supervisor";
  }
  return "program";
}

Cause MadeSafe(Cause cause) {
  cause.who = SafeText(std::move(cause.who), kMaxSafeName);
  cause.reason = SafeText(std::move(cause.reason));
  return cause;
}

std::string CommandOf(pid_t pid) {
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::string command;
  // All of it. Unlike an iterator, getline does not throw when the process ends meanwhile.
  std::getline(comm, command, '\0');
  if (command.ends_with('\n')) command.pop_back();
  // A process chooses its name by itself, and the kernel cuts it after 15 bytes, be that in the
  // middle of a character.
  return SafeText(std::move(command), kMaxSafeName);
}

std::string Describe(const Cause& cause) {
  std::string text(cause.kind == Cause::Kind::kSignal ? SignalName(cause.signal)
                                                      : std::string(Name(cause.kind)));
  const bool known = cause.pid > 0 || !cause.who.empty();
  if (known && cause.kind == Cause::Kind::kSignal) text += " from";
  if (!cause.who.empty()) text += " " + cause.who;
  if (cause.pid > 0) {
    const std::string ids =
        "pid " + std::to_string(cause.pid) + ", uid " + std::to_string(cause.uid);
    text += cause.who.empty() ? " " + ids : " (" + ids + ")";
  }
  if (!cause.reason.empty()) text += ": " + cause.reason;
  return text;
}

}  // namespace lastcall
