// Who asked, and why; a value that travels from the request to the receipt.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace lastcall {

struct Cause {
  enum class Kind : uint8_t {
    kSignal,
    kAdmin,  // lastcallctl, or whoever speaks to the admin socket
    kPlugin,
    kProgram,     // the program that embeds the library
    kProcess,     // a process failed
    kSupervisor,  // the supervisor is gone
  };

  Kind kind = Kind::kProgram;
  int signal = 0;  // of kSignal
  pid_t pid = 0;   // of the sender or caller; 0: unknown, or the kernel
  uid_t uid = 0;
  std::string who = {};     // command, plugin or process
  std::string reason = {};  // as given, made safe
};

std::string_view Name(Cause::Kind kind);

// Its texts are of whoever asks.
Cause MadeSafe(Cause cause);

// For people: "SIGTERM from kill (pid 812, uid 0)", "plugin prices: out of licences".
std::string Describe(const Cause& cause);

// The command of a living process, or the name of a thread of this one, from /proc; empty when it
// is gone.
std::string CommandOf(pid_t pid);

}  // namespace lastcall
