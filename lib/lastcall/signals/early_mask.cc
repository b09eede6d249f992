// Blocks the signals before the static initialisers of any library can make a thread: a program's
// .preinit_array runs before them. Linked as an object (lastcall_early_mask), for nobody refers to it.
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "lastcall/signals/table.h"

namespace lastcall {
namespace {

// System calls alone: neither the C library's wrappers nor a sanitizer's are set up yet.
__attribute__((no_sanitize("address", "thread", "undefined"))) void BlockEarly(int, char**,
                                                                               char**) {
  uint64_t set = 0;
  for (const int signal : kHandledSignals) set |= uint64_t{1} << (signal - 1);
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, nullptr, sizeof(set));
}

__attribute__((section(".preinit_array"), used)) void (*const kBlockEarly)(int, char**,
                                                                           char**) = &BlockEarly;

}  // namespace
}  // namespace lastcall
