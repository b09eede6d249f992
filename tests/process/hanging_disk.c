/* A file system that does not answer: for whoever opens the receipt, an open(2) that never returns. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static int Open(const char* symbol, const char* path, int flags, mode_t mode) {
  while (strstr(path, "receipt.json") != NULL) pause();
  int (*const next)(const char*, int, ...) =
      (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, symbol);
  return next(path, flags, mode);
}

static mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return Open("open64", path, flags, mode);
}
