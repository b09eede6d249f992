// Opens what of standard input, output and error is closed before anything can take its number: the
// log would be written into a socket, and a client's bytes be read as input. Static initialisers of
// gRPC open descriptors, and a program's .preinit_array runs before them. Linked as an object
// (lastcall_standard_streams), for nobody refers to it; a program of one's own has its own ways.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace lastcall {
namespace {

// System calls alone: neither the C library's wrappers nor a sanitizer's are set up yet.
__attribute__((no_sanitize("address", "thread", "undefined"))) void OpenMissing(int, char**,
                                                                                char**) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (syscall(SYS_fcntl, fd, F_GETFD) >= 0) continue;
    // Each gets the lowest number that is free, which is this one. Writing to standard output
    // fails, as it does where it is closed, for what was not printed must not look as if it had
    // been; a log that is not wanted is no failure.
    const int flags = fd == STDOUT_FILENO ? O_RDONLY : O_RDWR;
    if (syscall(SYS_openat, AT_FDCWD, "/dev/null", flags) < 0) {
      syscall(SYS_openat, AT_FDCWD, "/", O_PATH);  // to be neither read nor written
    }
  }
}

__attribute__((section(".preinit_array"), used)) void (*const kOpenMissing)(int, char**,
                                                                            char**) = &OpenMissing;

}  // namespace
}  // namespace lastcall
