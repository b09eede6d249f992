// A file system, a directory of groups and a name service that do not answer until they are told to,
// by LD_PRELOAD. $SLOW_FILES is a folder: `slow` names a file, a group or a host; while `closed` is
// there, whoever reads from or writes to that file, or looks up that name, waits; `waiting` appears
// when somebody does. `each` has the milliseconds that every other read takes.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int in_folder(char* path, const char* name) {
  const char* const folder = getenv("SLOW_FILES");
  if (folder != NULL) snprintf(path, PATH_MAX, "%s/%s", folder, name);
  return folder != NULL;
}

static void wait_for(const char* what) {
  char path[PATH_MAX], slow[PATH_MAX] = "";
  if (!in_folder(path, "slow")) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  syscall(SYS_read, fd, slow, sizeof(slow) - 1);
  close(fd);
  if (strcmp(slow, what) != 0) return;
  in_folder(path, "waiting");
  close((int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  in_folder(path, "closed");
  const struct timespec moment = {0, 1000000};
  while (access(path, F_OK) == 0) nanosleep(&moment, NULL);
}

static void wait_for_each(const char* path) {
  char each[PATH_MAX], text[16] = "";
  if (path[0] != '/' || strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0) return;
  if (!in_folder(each, "each")) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, each, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  syscall(SYS_read, fd, text, sizeof(text) - 1);
  close(fd);
  const long milliseconds = atol(text);
  const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static void wait_for_file(int fd, int reads) {
  char link[64], path[PATH_MAX];
  if (getenv("SLOW_FILES") == NULL) return;
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path) - 1);
  if (size <= 0) return;
  path[size] = '\0';
  wait_for(path);
  if (reads) wait_for_each(path);
}

ssize_t read(int fd, void* buffer, size_t size) {
  wait_for_file(fd, 1);
  return syscall(SYS_read, fd, buffer, size);
}

ssize_t write(int fd, const void* buffer, size_t size) {
  wait_for_file(fd, 0);
  return syscall(SYS_write, fd, buffer, size);
}

ssize_t pread64(int fd, void* buffer, size_t size, off64_t at) {
  wait_for_file(fd, 1);
  return syscall(SYS_pread64, fd, buffer, size, at);
}

ssize_t pread(int fd, void* buffer, size_t size, off_t at) { return pread64(fd, buffer, size, at); }

int getgrnam_r(const char* name, struct group* group, char* buffer, size_t size,
               struct group** found) {
  int (*const next)(const char*, struct group*, char*, size_t, struct group**) = (int (*)(
      const char*, struct group*, char*, size_t, struct group**))dlsym(RTLD_NEXT, "getgrnam_r");
  wait_for(name);
  return next(name, group, buffer, size, found);
}

// Of the domain "slow.example" every host is this one.
int getaddrinfo(const char* host, const char* service, const struct addrinfo* hints,
                struct addrinfo** found) {
  int (*const next)(const char*, const char*, const struct addrinfo*, struct addrinfo**) =
      (int (*)(const char*, const char*, const struct addrinfo*, struct addrinfo**))dlsym(
          RTLD_NEXT, "getaddrinfo");
  const int number = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
  if (host == NULL || number || strstr(host, ".slow.example") == NULL) {
    return next(host, service, hints, found);
  }
  wait_for(host);
  return next("127.0.0.1", service, hints, found);
}
